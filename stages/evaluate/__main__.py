from stages.evaluate.cli import main

main()
