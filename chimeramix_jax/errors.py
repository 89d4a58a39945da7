"""Errors that are not bugs of this program. Each has a one-line message for the user and an exit code."""

import difflib
import re
from collections.abc import Iterable, Sequence

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class InputError(ValueError):
    """A setting, flag or file from the user cannot be used.

    The message is one line: the key, file or flag, its value, and what is allowed. ``main.py`` prints it without a
    traceback and exits with code 2. Existing files are unchanged.
    """

    exit_code = 2


class StorageError(OSError):
    """A file cannot be written because the disk is full or a limit is reached.

    The message is one line: the file, the reason, and the space it needs. Complete files are unchanged, and the same
    command continues once there is space.
    """

    exit_code = 1


class NonFiniteError(ArithmeticError):
    """A loss or gradient became NaN or infinite. All checkpoints contain finite numbers only.

    ``terms`` are the names of the losses that were not finite, and "gradients" if those were not.
    """

    exit_code = 3

    def __init__(self, stage: str, epoch: int, step: int, terms: Sequence[str], advice: str = ""):
        super().__init__(f"{stage}: not finite in epoch {epoch}, step {step}: {', '.join(terms)}{advice}")
        self.stage, self.epoch, self.step, self.terms = stage, epoch, step, list(terms)


def one_line(error: BaseException) -> str:
    """Returns the error's message as one line, or the error's class name if it has no message."""
    return in_one_line(str(error)) or type(error).__name__


def in_one_line(text: str) -> str:
    """Replaces each line break by a single space. Other whitespace is kept, since it may be part of a file name."""
    return re.sub(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text.strip())


def without_control(text: str) -> str:
    """Returns a text for people in which control characters, which would act on a terminal, are escaped.

    So are ends of lines and paragraphs, what changes the direction of the text, and bytes of file names that are not
    UTF-8. ``\\x1b``, for instance, stands for an escape.
    """
    return _CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    letter = match[0]
    if "\udc80" <= letter <= "\udcff":  # how Python keeps such a byte
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def nearest(value: str, known: Iterable[str]) -> str:
    """Returns the known name most similar to a value; empty if none is similar."""
    return next(iter(difflib.get_close_matches(value, list(known), n=1)), "")


def not_one_of(what: str, value: object, allowed: Iterable[str]) -> InputError:
    """Returns, for the caller to raise, the error for an unknown name of ``what``. It suggests the most similar one."""
    names = list(allowed)
    near = nearest(str(value), names)
    hint = f" (did you mean {near!r}?)" if near else ""
    return InputError(f"{what}: {value!r} is not known{hint}; allowed: {', '.join(names)}")
