from lexor.cli.command import main

main()
