from stages.pose.cli import main

main()
