"""How the process keeps its memory on the host: for training on CPU, where every step allocates and frees it anew."""

import ctypes
import platform

# Names and numbers of <malloc.h>.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory for the next allocation; returns whether it could.

    XLA's CPU backend allocates the temporaries of a step, tens of megabytes at a time, and frees them again. By default
    glibc takes blocks of that size from the system and gives them back at once, so each step waits while the system
    clears thousands of pages (measured in ``docs/performance.md``). The process stays at the most that it ever needed.

    Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(*option) for option in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)))
