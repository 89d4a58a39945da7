"""Refuses outputs that would destroy something: an input, a part of a run, or a file of another kind.

Also refuses folders of pictures among the photos, which would later be taken for photos themselves.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax.data import image_paths
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.workdir import Workdir

STANDARD_OUTPUT = "-"  # for --output of predictions, as in other programs

_LOOKED_AT = 8192  # bytes that tell text from anything else, which nearly always has a zero among them
# The version of the format, then another field: a file of ONNX has no signature.
_ONNX = re.compile(rb"\x08[\x01-\x7f][\x12\x1a\x22\x28\x32\x3a\x42]")


def target(output: str | os.PathLike[str], named_by: str) -> Path:
    """Returns the path of a file or folder to write; raises InputError if it cannot be one, or is part of a run.

    ``named_by`` is the flag that names it.
    """
    if os.fspath(output) == STANDARD_OUTPUT:
        raise InputError(
            f"{named_by}={STANDARD_OUTPUT}: only --stage=predict writes to standard output, and only --output; name a "
            f"path, such as ./{STANDARD_OUTPUT} for this very name"
        )
    path = local_path(output, named_by)
    if (run := Workdir.around(path)) is not None:
        raise InputError(f"{named_by}={path}: is a part of the run in {run.path}, which needs it; choose another name")
    return path


def refuse_inputs(path: Path, named_by: str, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raises InputError if a file that would be written is one of the inputs, perhaps by another name."""
    if not path.is_file():
        return
    for file in inputs:
        with contextlib.suppress(OSError):
            if os.path.samefile(file, path):
                raise InputError(f"{named_by}={path}: is an input, {file}, and is not replaced; name another file")


def refuse_other_kind(path: Path, named_by: str, kind: str, is_of_kind: Callable[[Path], bool]) -> None:
    """Raises InputError if a file exists that is neither empty nor of the kind that would replace it."""
    if path.is_file() and path.stat().st_size and not is_of_kind(path):
        raise InputError(
            f"{named_by}={path}: exists and is not {kind}, so it is not replaced; name another file, or delete this "
            "one first"
        )


def refuse_among_photos(path: Path, named_by: str, images: object, config: ConfigDict) -> None:
    """Raises InputError if a folder would lie where its pictures are taken for photos, to classify or to train on.

    ``images`` are those to classify: a string, an image or a list of them; anything but paths is ignored.
    """
    several = images if isinstance(images, list | tuple) else [images]
    named = [name for name in several if isinstance(name, str | os.PathLike)]
    if (around := image_paths.around(path, images if isinstance(images, str) else named)) is not None:
        raise InputError(
            f"{named_by}={path}: lies among the photos of --images={around}, which would have its pictures too the "
            "next time; choose a folder elsewhere"
        )
    photos = os.path.expanduser(config.dataset.directory)
    if photos and os.path.isdir(photos) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(photos)):
        raise InputError(
            f"{named_by}={path}: lies in the folder of the data set, {photos}, whose photos its pictures would join; "
            "choose a folder elsewhere"
        )


def is_text(path: Path) -> bool:
    """Returns whether a file is text of any kind, and neither a photo nor a program's data."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return b"\0" not in file.read(_LOOKED_AT)
    return False


def is_model(path: Path) -> bool:
    """Returns whether a file is a model file of this program."""
    try:
        ModelArchive(path)
    except InputError:
        return False
    return True


def is_onnx(path: Path) -> bool:
    """Returns whether a file begins like one of ONNX."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return _ONNX.match(file.read(_LOOKED_AT)) is not None
    return False
