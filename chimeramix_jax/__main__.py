"""``python -m chimeramix_jax`` is the command ``chimeramix``."""

from chimeramix_jax.runtime import console


def run() -> None:
    """Runs the program with the process's arguments."""
    with console.prepared():  # while it is imported, too
        from chimeramix_jax.command_line import program

        program.run()


if __name__ == "__main__":
    run()
