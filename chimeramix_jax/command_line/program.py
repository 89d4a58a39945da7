"""Which subcommand a command line calls, and calling it."""

import faulthandler
import gc
import importlib.metadata
import sys
import tomllib
from collections.abc import Sequence
from types import ModuleType

from absl import logging

from chimeramix_jax.command_line import exits, help_text, main_command, stages
from chimeramix_jax.command_line.flags import HELP_FLAGS, at_the_end_of_flags
from chimeramix_jax.command_line.subcommands import SUBCOMMANDS, module
from chimeramix_jax.config import shipped
from chimeramix_jax.errors import InputError, nearest


def run_process(arguments: Sequence[str]) -> None:
    """Runs the program as the whole purpose of this process, and ends the process."""
    faulthandler.enable()  # a crash in native code leaves a traceback
    gc.set_threshold(50_000, 20, 50)  # tracing makes many objects but little garbage, and each search takes time
    logging.use_absl_handler()  # so that ``exits.quiet_libraries`` reaches what other libraries log, too
    sys.exit(main(arguments))


def main(arguments: Sequence[str]) -> int:
    """Runs the subcommand that the arguments name; returns the exit code."""
    may_be_flags, _ = at_the_end_of_flags(arguments)
    if "--version" in may_be_flags:
        print(f"chimeramix {version()}")
        return 0
    try:
        subcommand, rest = choose(arguments)
        if set(HELP_FLAGS) & set(may_be_flags):
            print(help_text.render(subcommand.HELP, help_text.program_name()))
            return 0
        parsed = subcommand.parse_arguments(rest)
    except InputError as error:
        exits.say(str(error))
        return error.exit_code
    less_memory = subcommand.less_memory(parsed) if hasattr(subcommand, "less_memory") else ""
    return exits.exit_code_of(lambda: subcommand.perform(parsed), subcommand.after_stop(parsed), less_memory)


def choose(arguments: Sequence[str]) -> tuple[ModuleType, Sequence[str]]:
    """Returns the subcommand's module and its own arguments."""
    name = arguments[0] if arguments else ""
    if not name or name.startswith("-"):
        return main_command, arguments
    if name in SUBCOMMANDS:
        return module(name), arguments[1:]
    raise InputError(f"{name!r}: not a subcommand{_hint(name)}; subcommands are {', '.join(SUBCOMMANDS)}")


def version() -> str:
    """Returns the program's version, also in a checkout that is not installed."""
    try:
        return importlib.metadata.version("chimeramix_jax")
    except importlib.metadata.PackageNotFoundError:
        project = shipped.folder().parent / "pyproject.toml"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]


def _hint(name: str) -> str:
    """What was probably meant by an argument that is not a subcommand."""
    meant = {word: word for word in SUBCOMMANDS}
    meant |= {config: f"--config={config}" for config in shipped.names()}
    meant |= {stage: f"--stage={stage}" for stage in stages.ALL}
    near = nearest(shipped.separated(name)[0], meant)
    return f" (did you mean {meant[near]}?)" if near else ""
