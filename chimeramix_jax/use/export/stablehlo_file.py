"""StableHLO files: a zip of a program that ``jax.export`` serialized, and of its description."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax import export
from jaxtyping import Float, UInt8

from chimeramix_jax.use.export.program import Program

PROGRAM, METADATA = "program.bin", "metadata.json"


def content(program: Program) -> bytes:
    """Returns the bytes of the file."""
    lowered = program.exported()
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PROGRAM, lowered.serialize())
        archive.writestr(METADATA, json.dumps(program.metadata, indent=2, ensure_ascii=False) + "\n")
    return stored.getvalue()


def is_one(path: Path) -> bool:
    """Returns whether a file is one that ``content`` made."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(archive.namelist()) == sorted((PROGRAM, METADATA))
    except Exception:  # zipfile raises errors of many classes for other files
        return False


def runner(
    stored: bytes,
) -> Callable[[UInt8[np.ndarray, "batch height width 3"]], Float[np.ndarray, "batch classes"]]:
    """Returns a function that classifies images with the program in a file's bytes."""
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        restored = export.deserialize(bytearray(archive.read(PROGRAM)))
    call = jax.jit(restored.call)
    return lambda images: np.asarray(call(images))
