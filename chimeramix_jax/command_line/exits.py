"""How the program ends: errors as one line on standard error and an exit code. Warnings are one line, too."""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from absl import logging

from chimeramix_jax import files
from chimeramix_jax.errors import InputError, NonFiniteError, StorageError, in_one_line, without_control
from chimeramix_jax.runtime import stopping

PARTLY_DONE = 1  # some runs, trials, files or images could not be done or read; messages name them
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def say(message: str) -> None:
    """Prints one line on standard error."""
    print(f"chimeramix: {without_control(in_one_line(message))}", file=sys.stderr)


def exit_code_of(action: Callable[[], int], after_stop: str, less_memory: str = "") -> int:
    """Calls the action and returns its exit code; an expected error becomes one line.

    Args:
        action: returns the exit code.
        after_stop: what the user should know if it is stopped.
        less_memory: how the user could make it need less memory, with flags that it takes; empty: nothing is known.
    """
    try:
        return action()
    except (InputError, StorageError, NonFiniteError) as error:
        say(str(error))
        return error.exit_code
    except stopping.Stopped as stopped:
        say(f"stopped ({stopped}); {after_stop}")
        return stopped.exit_code
    except KeyboardInterrupt:
        say(f"interrupted; {after_stop}")
        return INTERRUPTED
    except (OSError, MemoryError, RuntimeError) as error:
        message = _out_of_room(error, less_memory)
        if message is None:
            raise
        say(message)
        return StorageError.exit_code


def _out_of_room(error: Exception, less_memory: str) -> str | None:
    """What to print where an error of a library means that a disk or memory is full; None for any other error."""
    if isinstance(error, OSError):
        if error.errno not in (*files.NO_ROOM, *files.CLOSED):
            return None
        done = "written" if error.errno in files.NO_ROOM else "read or written"
        return f"{error.filename or 'a file'}: cannot be {done}: {error.strerror}"
    if not (isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)):  # a status of XLA, which JAX raises
        return None
    first_line = str(error).strip().partition("\n")[0]  # XLA adds tables of buffers
    return f"out of memory: {first_line or 'on the host'}{less_memory and '; '}{less_memory}"


def quiet_libraries() -> None:
    """Leaves only this program's lines on standard error: each warning once, and errors where they are raised."""
    logging.set_verbosity(logging.FATAL)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the same for XLA, whose errors are still printed
    sys.unraisablehook = _report_unraisable
    printed: set[str] = set()

    def show(message: Warning | str) -> None:
        if str(message) not in printed:
            printed.add(str(message))
            say(f"warning: {message}")

    warnings.showwarning = lambda message, *_: show(message)


def _report_unraisable(unraisable: Any) -> None:
    """Reports errors that cannot be raised as Python does, except those of an abandoned checkpoint.

    When one of TensorStore's writers finds the disk full, its others find the event loop closed.
    """
    if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(unraisable)
