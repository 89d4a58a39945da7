"""The programs on the command line: ``chimeramix`` and its subcommands.

``program`` chooses the subcommand. Each has a module with its flags and help: ``main_command``, ``sweep``, ``tune``,
``summarize``, ``reproduce`` and ``serve``. ``stages`` says which flags a ``--stage`` takes, ``actions`` does what it
names, ``launching`` carries out planned runs, ``flags`` parses, ``help_text`` lays out the help text, and ``exits``
turns errors into one line and an exit code. Parsing never imports JAX, so that a mistake is answered at once.
"""

import sys

from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import console


def run(*subcommand: str) -> None:
    """Runs the program with the process's arguments, behind those given here."""
    if sys.platform == "win32":  # which lacks the signals and the file locks that later imports need
        print("chimeramix: Windows is not supported; use WSL (Windows Subsystem for Linux)", file=sys.stderr)
        sys.exit(InputError.exit_code)
    with console.prepared():  # before the imports, so that Ctrl-C is handled while they load
        from chimeramix_jax.command_line import program

        program.run_process([*subcommand, *sys.argv[1:]])
