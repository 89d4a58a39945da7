"""Reading pickles of plain containers and NumPy arrays, and of nothing else.

A pickle is a program: loading one may call anything that can be imported. The CIFAR family is published as pickles,
so these are read with a list of what they may name.
"""

import collections
import io
import pickle
from typing import Any

import numpy as np

from chimeramix_jax.errors import InputError, one_line


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which Python 3 writes bytes into pickles of protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


# NumPy's own functions for rebuilding arrays moved from numpy.core to numpy._core in NumPy 2, and files of both ages
# are about. Asking NumPy what it would write itself finds them in either.
_REBUILD_ARRAY = np.empty(0).__reduce__()[0]
_REBUILD_ARRAY_FROM_BUFFER = np.empty(0).__reduce_ex__(5)[0]
_REBUILD_SCALAR = np.int64(0).__reduce__()[0]

_ADMITTED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin1_bytes,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _REBUILD_ARRAY),
            ("multiarray", "scalar", _REBUILD_SCALAR),
            ("numeric", "_frombuffer", _REBUILD_ARRAY_FROM_BUFFER),
        )
    },
}


class _ForbiddenGlobalError(Exception):
    """Carries the dotted name that a pickle must not ask for."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Returns what the pickle names, if that is on the list."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _ForbiddenGlobalError(f"{module}.{name}") from None


def load_plain_pickle(data: bytes, source: str) -> Any:
    """Loads a pickle of Python 2 or 3 that holds only plain containers, numbers, text, bytes and NumPy arrays.

    Args:
      data: the pickle. Text of Python 2 comes back as bytes.
      source: the file, for error messages.

    Raises:
      InputError: the pickle names anything else, or is damaged. Nothing it names has been called then.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except _ForbiddenGlobalError as error:
        raise InputError(
            f"dataset.archive: the pickle {source} names {error}; only plain containers and NumPy arrays are read"
        ) from None
    except Exception as error:  # a damaged pickle can make the unpickler and NumPy raise nearly anything
        reason = one_line(error)
        raise InputError(f"dataset.archive: the pickle {source} cannot be read: {reason}") from error
