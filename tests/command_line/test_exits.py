"""Errors to exit codes, and warnings, each in one line."""

import errno
import signal
import sys
import warnings

import pytest
from absl import logging

from chimeramix_jax.command_line import exits
from chimeramix_jax.errors import InputError, NonFiniteError, StorageError
from chimeramix_jax.runtime.stopping import Stopped

CONTINUES = "the same command continues the run"


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("seed: -1\nis not allowed"), 2, "seed: -1 is not allowed"),
        (InputError("\x1b[31mred\udce9.png: no image"), 2, r"\x1b[31mred\xe9.png: no image"),
        (StorageError("results.json: no room"), 1, "results.json: no room"),
        (NonFiniteError("generator", 2, 7, ["reconstruction"]), 3, "generator: not finite in epoch 2, step 7"),
        (OSError(errno.ENOSPC, "No space left on device", "a.bin"), 1, "a.bin: cannot be written: No space left"),
        (OSError(errno.EACCES, "Permission denied", "a.bin"), 1, "a.bin: cannot be read or written: Permission denied"),
        (MemoryError(), 1, "out of memory: on the host"),
        (RuntimeError("RESOURCE_EXHAUSTED: 8 GiB\n  buffers"), 1, "out of memory: RESOURCE_EXHAUSTED: 8 GiB"),
        (Stopped(signal.SIGTERM), 143, f"stopped (SIGTERM); {CONTINUES}"),
        (Stopped(signal.SIGINT), 130, f"stopped (SIGINT); {CONTINUES}"),
        (KeyboardInterrupt(), 130, f"interrupted; {CONTINUES}"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_expected_error_is_one_line_and_an_exit_code(error, code, line, capsys):
    assert exits.exit_code_of(raising(error), CONTINUES) == code
    errors = capsys.readouterr().err
    assert errors.startswith(f"chimeramix: {line}") and errors.count("\n") == 1


@pytest.mark.parametrize(("less_memory", "end"), [("", "on the host\n"), ("use fewer", "on the host; use fewer\n")])
def test_an_error_for_lack_of_memory_gives_only_the_advice_of_the_command(less_memory, end, capsys):
    assert exits.exit_code_of(raising(MemoryError()), CONTINUES, less_memory) == 1
    assert capsys.readouterr().err == f"chimeramix: out of memory: {end}"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug"), FileNotFoundError(errno.ENOENT, "none")])
def test_an_error_that_nobody_expects_keeps_its_traceback(error, capsys):
    with pytest.raises(type(error)):
        exits.exit_code_of(raising(error), CONTINUES)
    assert capsys.readouterr().err == ""


def test_the_actions_own_exit_code_is_returned():
    assert exits.exit_code_of(lambda: 7, CONTINUES) == 7


def test_each_warning_is_printed_once_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    verbosity = logging.get_verbosity()
    try:
        exits.quiet_libraries()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            showwarning = warnings.showwarning
            for message in ("a checkpoint\nis damaged", "another", "another"):
                showwarning(UserWarning(message), UserWarning, "file.py", 1)
    finally:
        logging.set_verbosity(verbosity)
    assert capsys.readouterr().err.splitlines() == [
        "chimeramix: warning: a checkpoint is damaged",
        "chimeramix: warning: another",
    ]
