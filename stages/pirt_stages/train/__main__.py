from pirt_stages.train.cli import main

main()
