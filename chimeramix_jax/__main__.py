"""``python -m chimeramix_jax`` is the command ``chimeramix``."""

import sys

from chimeramix_jax.runtime import console


def run(*subcommand: str) -> None:
    """Runs the program with the process's arguments, behind those given here."""
    with console.prepared():  # before the imports, so that Ctrl-C is handled while they load
        from chimeramix_jax.command_line import program

        program.run_process([*subcommand, *sys.argv[1:]])


if __name__ == "__main__":
    run()
