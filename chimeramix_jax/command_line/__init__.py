"""The settings, actions and exit codes of the program on the command line."""


def run() -> None:
    """Runs the program with the process's arguments; for scripts that start it in their own process."""
    from chimeramix_jax.command_line import program  # only now, as it takes a moment

    program.run()
