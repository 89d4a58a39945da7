"""``python -m chimeramix_jax`` is the command ``chimeramix``."""

from chimeramix_jax import console


def run() -> None:
    """Runs the program with the process's arguments."""
    with console.prepared():  # while it is imported, too
        from chimeramix_jax import command_line

        command_line.run()


if __name__ == "__main__":
    run()
