"""The one kind of error that a user can cause and mend."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: which key, file or flag, what it was, what is allowed. ``main.py`` prints it without a
    traceback and exits with code 2; whatever was written before stays as it was.
    """


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
