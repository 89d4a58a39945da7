"""Memory on the host: stops glibc from returning to the system what every training step on CPU allocates anew."""

import ctypes
import platform

# Names and numbers of <malloc.h>.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory for the next allocation; returns whether it could.

    XLA's CPU backend allocates the temporaries of a step, tens of megabytes at a time, and frees them again. By default
    glibc takes blocks of that size from the system and returns them at once, so each step waits while the system
    clears thousands of pages (measured in ``docs/performance.md``). With this setting the process stays at its largest
    size.

    Does nothing if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(*option) for option in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)))
