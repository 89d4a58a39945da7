"""Reads the pickles of the CIFAR family, which contain plain containers and NumPy arrays.

Unpickling can call any function that the pickle names. These archives have known checksums; the unpickler still refuses
all functions and classes but the few from which NumPy rebuilds arrays.
"""

import io
import pickle
from typing import Any

from chimeramix_jax.errors import InputError, one_line

_ALLOWED = {
    ("_codecs", "encode"),  # bytes, written by Python 3 in protocol 2
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Returns the function or class if it is allowed."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it uses {module}.{name}; only plain containers and arrays are allowed")
        return super().find_class(module, name)


def load_plain_pickle(data: bytes, source: str) -> Any:
    """Loads a pickle of plain containers, numbers, text and NumPy arrays; strings of Python 2 are returned as bytes.

    Raises InputError if it is damaged, or uses any other function or class, which is not called.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can make the unpickler and NumPy raise nearly any error
        raise InputError(f"dataset.archive: the pickle {source} cannot be read: {one_line(error)}") from error
