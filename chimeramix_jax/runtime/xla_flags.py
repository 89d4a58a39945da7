"""What XLA is told by the environment. It reads that once, when JAX starts to compute, so all of this comes before."""

import os
from importlib.metadata import version

# YNNPACK, to which some XLA hand plain convolutions on CPU, is slower at many of the models' than XLA's own library
# (python -m benchmarks.convolutions). The flag leaves it the matrix products. XLA ends the process at flags that it
# does not know, so it is given to the versions it was tried with only; jaxlib 0.9 has no need of it.
_KEEP_CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type"
_KEEP_CONVOLUTIONS_IN = ((0, 10), (0, 12))  # the first and the last


def given() -> list[str]:
    """The flags that are set."""
    return os.environ.get("XLA_FLAGS", "").split()


def add(flag: str) -> None:
    """Sets a flag beside those that are set."""
    if flag not in given():
        os.environ["XLA_FLAGS"] = " ".join([*given(), flag])


def keep_convolutions_from_ynnpack() -> bool:
    """Makes XLA compute convolutions on CPU by its own library; returns whether it could.

    Does nothing where the user set the flag already, or where it is not known to be understood.
    """
    jaxlib = tuple(int(part) for part in version("jaxlib").split(".")[:2])
    first, last = _KEEP_CONVOLUTIONS_IN
    if not first <= jaxlib <= last or any(flag.startswith(_KEEP_CONVOLUTIONS) for flag in given()):
        return False
    add(f"{_KEEP_CONVOLUTIONS}=LIBRARY_FUSION_TYPE_DOT")
    return True
