from pirt_stages.search.cli import main

main()
