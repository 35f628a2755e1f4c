from stages.data.cli import main

main()
