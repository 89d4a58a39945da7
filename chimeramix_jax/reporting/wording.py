"""Words that depend on a number."""


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun: ``1 image``, ``2 images``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
