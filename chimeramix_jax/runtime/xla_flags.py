"""The flags in ``XLA_FLAGS``. XLA reads them once, when JAX starts to compute, so they must be set before that."""

import os
from importlib.metadata import version

# Some versions of XLA hand plain convolutions on CPU to YNNPACK, which is slower than XLA's own library for many of
# the models' shapes (python -m benchmarks.convolutions). This flag leaves only matrix products to YNNPACK. XLA aborts
# the process on a flag that it does not know, so only the versions that it was tested with get it; jaxlib 0.9 does not
# need it. The value must be INDIVIDUAL_DOT: with DOT, a product whose right side is a number repeated is wrong or NaN.
_KEEP_CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type"
_KEEP_CONVOLUTIONS_IN = ((0, 10), (0, 12))  # first and last version


def given() -> list[str]:
    """Returns the flags that are set."""
    return os.environ.get("XLA_FLAGS", "").split()


def add(flag: str) -> None:
    """Sets a flag and keeps those that are already set."""
    if flag not in given():
        os.environ["XLA_FLAGS"] = " ".join([*given(), flag])


def keep_convolutions_from_ynnpack() -> bool:
    """Makes XLA compute convolutions on CPU with its own library; returns whether it set the flag.

    Does nothing if the user has set the flag, or if the installed version of jaxlib may not know it.
    """
    jaxlib = tuple(int(part) for part in version("jaxlib").split(".")[:2])
    first, last = _KEEP_CONVOLUTIONS_IN
    if not first <= jaxlib <= last or any(flag.startswith(_KEEP_CONVOLUTIONS) for flag in given()):
        return False
    add(f"{_KEEP_CONVOLUTIONS}=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT")
    return True
