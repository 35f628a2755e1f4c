from stages.report.cli import main

main()
