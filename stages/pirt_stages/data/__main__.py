from pirt_stages.data.cli import main

main()
