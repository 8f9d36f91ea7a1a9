"""The command line, one file a command: the outermost room, which imports the others only when a command runs."""
