from pirt_stages.export.cli import main

main()
