"""Standard output and error as they may be: closed, without a reader, without Unicode; and Ctrl-C at any time.

This module imports nothing of weight, so that it is in force while the others are imported.
"""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from chimeramix_jax.errors import StorageError

_PLAIN = {"±": "+-", "…": "..."}
_REPLACE = "chimeramix-plain"  # the name of an error handler of Python's encoders


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    """What is written in the place of characters that the output has not: like ones, or else their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    escaped = (_PLAIN.get(one, one.encode("ascii", "backslashreplace").decode()) for one in characters)
    return "".join(escaped), error.end


codecs.register_error(_REPLACE, _in_plain_characters)


class _Output:
    """A standard stream whose reader may leave: what is written after that is dropped, and nobody is disturbed.

    The work goes on all the same, and the exit code says how it ended.
    """

    def __init__(self, stream: TextIO, *, needed: bool):
        """Wraps a stream; ``needed``: that what is written cannot be stored is an error."""
        self._stream, self._needed = stream, needed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Leads the stream to nowhere, or else Python would try again, and complain, when the program ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._needed and error.errno not in (errno.EPIPE, errno.EIO):  # the latter: a terminal that was closed
            raise StorageError(f"standard output: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Inside the ``with`` statement nothing that is printed ends the program, and Ctrl-C ends it without a traceback.

    To be entered before anything is opened: what is opened first may else take the place of a closed standard stream.
    """
    _open_closed_streams()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=_REPLACE)
    sys.stdout = cast(TextIO, _Output(before[0], needed=True))
    sys.stderr = cast(TextIO, _Output(before[1], needed=False))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("chimeramix: interrupted", file=sys.stderr)
        sys.exit(130)
    except StorageError as error:  # of standard output
        print(f"chimeramix: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_closed_streams() -> None:
    """Leads standard streams that are closed to nowhere."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)  # also where they are equal, so that programs that are started inherit it
            if nowhere != descriptor:
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
