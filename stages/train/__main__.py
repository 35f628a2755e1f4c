from stages.train.cli import main

main()
