"""The one kind of error that a user can cause and mend."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: which key, file or flag, what it was, what is allowed. ``main.py`` prints it without a
    traceback and exits with code 2; whatever was written before stays as it was.
    """
