"""Handles Pillow's warnings while any thread reads an image."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

from PIL import Image

_lock = threading.Lock()
_readers = 0  # threads inside ``handled``, and nested uses of it
_filters = contextlib.ExitStack()  # restores the process's filters when the last reader leaves


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Ignores warnings about unusual metadata, and makes the warning about too many pixels an error.

    The filters belong to the process. If each thread set and restored them itself, the last could restore those that
    another had set, and the process would ignore all warnings from then on.
    """
    global _readers
    with _lock:
        if not _readers:
            _filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # only the pixels matter
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                _filters.close()
