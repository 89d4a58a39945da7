"""A process that is killed, as an exception."""


class Killed(BaseException):
    """Stands for the end of the process."""


def killed(*arguments, **options):
    """Stands for a function in which the process ends."""
    raise Killed
