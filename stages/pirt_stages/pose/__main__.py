from pirt_stages.pose.cli import main

main()
