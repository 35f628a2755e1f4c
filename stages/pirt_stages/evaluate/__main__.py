from pirt_stages.evaluate.cli import main

main()
