"""What can go wrong that is no mistake of this program: each with one line for the user, and an exit code."""

import difflib
import re
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: which key, file or flag, what it was, what is allowed. ``main.py`` prints it without a
    traceback and exits with code 2; whatever was written before stays as it was.
    """

    exit_code = 2


class StorageError(OSError):
    """A file cannot be written, as the disk is full or a limit is reached.

    The message is one line: which file, why, how much room it needs. What was complete before stays as it was, and the
    same command goes on once there is room.
    """

    exit_code = 1


class NonFiniteError(ArithmeticError):
    """A loss or a gradient has become NaN or infinite; the checkpoints hold finite numbers only.

    Attributes:
        epoch: in which it happened, from 1.
        step: of the stage, from 1.
        terms: the losses that were not finite, and "gradients".
    """

    exit_code = 3

    def __init__(self, stage: str, epoch: int, step: int, terms: Sequence[str], advice: str = ""):
        """Makes the line for the user; ``advice`` is added to it."""
        super().__init__(f"{stage}: not finite in epoch {epoch}, step {step}: {', '.join(terms)}{advice}")
        self.stage, self.epoch, self.step, self.terms = stage, epoch, step, list(terms)


def one_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return in_one_line(str(error)) or type(error).__name__


def in_one_line(text: str) -> str:
    """The text with one blank in the place of each line break; other blanks stay, as they may be in a file's name."""
    return re.sub(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text.strip())


def not_one_of(what: str, value: object, allowed: Iterable[str]) -> InputError:
    """Returns, for the caller to raise, the error for a name that is not in a list; it names the nearest allowed one.

    Args:
        what: the key, flag or file that the name was given for; starts the message.
        value: what was given.
        allowed: every name that would have been right.
    """
    names = list(allowed)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return InputError(f"{what}: {value!r} is not known{hint}; allowed: {', '.join(names)}")
