"""Makes standard output and error safe to use when they are closed, lose their reader or lack Unicode; handles Ctrl-C.

This module imports nothing heavy, so that it takes effect before the slow imports begin.
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
_REPLACE = "chimeramix-plain"  # name of our error handler for Python's encoders


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    """Replaces characters that the output's encoding lacks with similar ones, or with their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    replaced = (_PLAIN.get(letter, letter.encode("ascii", "backslashreplace").decode()) for letter in characters)
    return "".join(replaced), error.end


codecs.register_error(_REPLACE, _in_plain_characters)


class _Output:
    """A standard stream that survives the loss of its reader: further output is dropped.

    The program continues, and its exit code reports how its work ended.
    """

    def __init__(self, stream: TextIO, *, needed: bool):
        """Wraps a stream; with ``needed``, output that cannot be stored (a full disk) raises ``StorageError``."""
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
        """Redirects the stream to the null device; otherwise Python would write again, and fail, at exit."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._needed and error.errno not in (errno.EPIPE, errno.EIO):  # EIO: the terminal was closed
            raise StorageError(f"standard output: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Inside the ``with`` statement printing never ends the program, and Ctrl-C ends it without a traceback.

    Must be entered before any file is opened, which could otherwise get the descriptor of a closed standard stream.
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
    except StorageError as error:  # raised by standard output
        print(f"chimeramix: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_closed_streams() -> None:
    """Opens closed standard streams on the null device."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)  # even if they are equal: it makes the descriptor inheritable
            if nowhere != descriptor:
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
