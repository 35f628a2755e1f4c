from pirt_stages.report.cli import main

main()
