"""The settings, actions and exit codes of the program on the command line."""
