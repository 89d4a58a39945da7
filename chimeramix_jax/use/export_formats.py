"""The formats of exported classifiers; importing them does not load JAX."""

import importlib.util
import os
from collections.abc import Mapping

from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.runtime import invocation

ONNX = "onnx"
STABLEHLO = "stablehlo"
SAVEDMODEL = "savedmodel"
MODEL = "model"

EXTENSIONS: Mapping[str, str] = {ONNX: ".onnx", STABLEHLO: ".stablehlo", SAVEDMODEL: ".savedmodel", MODEL: ".zip"}
FORMATS = tuple(EXTENSIONS)
# What a format needs beside the program's own requirements.
_PACKAGES = {ONNX: ("onnx", "onnxruntime"), SAVEDMODEL: ("tensorflow",)}


def format_of(output: str | None) -> str | None:
    """Returns the format for a file's name, by its extension; None if there is none for it."""
    extension = os.path.splitext(output or "")[1].lower()
    return next((name for name, known in EXTENSIONS.items() if known == extension), None)


def check(file_format: str | None, *, half: bool = False) -> None:
    """Raises InputError unless this format can be written here."""
    if file_format is None:
        raise InputError(f"--format: --stage=export needs it; allowed: {', '.join(FORMATS)}")
    if file_format not in FORMATS:
        raise not_one_of("--format", file_format, FORMATS)
    if half and file_format == MODEL:
        raise InputError(f"--half: --format={MODEL} keeps the weights as they were trained; leave --half out")
    packages = _PACKAGES.get(file_format, ())
    if not all(map(importlib.util.find_spec, packages)):
        names = f"package{'s' if len(packages) > 1 else ''} {' and '.join(packages)}"
        raise InputError(f"--format={file_format}: needs the {names}; {invocation.installing(*packages)}")
