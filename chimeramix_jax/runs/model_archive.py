"""A trained classifier in a single file: a zip of ``model.json``, a model card and one NumPy file per weight.

::

    model.json            settings, class names, epochs, digests of the data, results with the temperature, versions,
                          and the format's version
    model_card.md         the run's model card, if it has one
    training_digests.npy  the digests of the training images (data/identity.py) as sorted numbers, by which predictions
                          recognise them; missing in files of format 1, and if the run has not recorded them
    weights/*.npy         parameters and batch statistics after the last epoch, in float32, by their places in the
                          network

It holds no optimizer state, no generator, no images, no paths of folders and no pickles: reading it runs no code in it.
"""

import io
import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.identity import HELD_OUT, TRAIN, packed, unpacked
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.paths import local_path
from chimeramix_jax.stored_format import OF_MODEL_FILES, marked, unmarked

Weights = Mapping[str, Float32[np.ndarray, "..."]]

KIND = "chimeramix_jax model"

_ABOUT, _CARD, _DIGESTS = "model.json", "model_card.md", "training_digests.npy"
_NEEDED: Mapping[str, type] = {"config": dict, "class_names": list, "data": dict, "epoch": int}
_LARGEST = 100_000_000  # bytes of a member other than weights; more would only fill the memory
_HEADER_ROOM = 1_000  # bytes that a NumPy file may have besides its numbers
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest of a zip: equal models are equal files


class ModelArchive:
    """A model file, opened. It takes the place of a run's directory where only its classifier is needed."""

    def __init__(self, path: str | os.PathLike[str]):
        """Reads what the file says about the classifier; raises InputError if it is not a model file, or damaged."""
        self.path = local_path(path, "--workdir")
        content = self._members({_ABOUT: _LARGEST})[_ABOUT]
        try:
            about = json.loads(content)
            kind = about.get("kind")
        except (ValueError, AttributeError, RecursionError):
            kind = None
        if kind != KIND:
            raise self._foreign(f"its {_ABOUT} is of another program")
        self.about: dict[str, Any] = unmarked(about, self.path)
        for key, expected in _NEEDED.items():
            if not isinstance(self.about.get(key), expected):
                raise InputError(f"{self.path}: damaged: {_ABOUT} has no valid {key!r}; export the model again")

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> "ModelArchive | None":
        """Opens the path if it is a file; returns None if it is a run's directory, or does not exist."""
        return cls(path) if is_file(path) else None

    @cached_property
    def config(self) -> ConfigDict:
        """The settings of the run, without paths; raises InputError if they cannot be used."""
        try:
            config = settings.from_dict(self.about["config"])
            settings.check(config, environment=False, stored=True)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{self.path}: damaged: {one_line(error)}; export the model again") from None
        return config

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the classifier's logits."""
        return tuple(map(str, self.about["class_names"]))

    @property
    def card(self) -> bytes | None:
        """The run's model card; None if the file has none. Raises InputError if the file is damaged."""
        return self._members({_CARD: _LARGEST}, optional=True).get(_CARD)

    @property
    def training_images(self) -> frozenset[str] | None:
        """The digests of the training images; None if the file has none. Raises InputError if the file is damaged."""
        member = self._members({_DIGESTS: _LARGEST}, optional=True).get(_DIGESTS)
        if member is None:
            return None
        numbers = self._array(member)
        if numbers.ndim != 1 or numbers.dtype != np.uint64:
            raise self._damaged(f"{_DIGESTS} is {numbers.dtype} of shape {numbers.shape}, not a list of uint64")
        return unpacked(numbers)

    def settings_like(self, config: ConfigDict | None, *, measuring: bool = True) -> ConfigDict:
        """Returns these settings (None: the model's own), checked; raises InputError if their results would differ.

        ``measuring`` allows settings that only change how a trained classifier is measured to differ.
        """
        if config is None:
            return self.config
        differing = settings.differences(self.config, config, measuring=measuring)
        if differing:
            raise InputError(f"{self.path}: is a model with other settings ({settings.shortened(differing)})")
        settings.check(config, environment=False, stored=True)
        return config

    def refuse_other_data(self, dataset: FewShotDataset) -> None:
        """Raises InputError unless the classifier was trained and measured on exactly these images."""
        now, then = dataset.identity.digests(), self.about["data"]
        names = {TRAIN: "training", HELD_OUT: "test"}
        differing = [text for name, text in names.items() if then.get(name) != now[name]]
        if differing:
            raise InputError(f"{self.path}: is a model of other data (other {' and '.join(differing)} images)")

    def weights(self, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
        """Returns the arrays of these names and shapes; raises InputError if the file lacks one, or it is damaged."""
        sizes = {_member(name): 4 * math.prod(shape) + _HEADER_ROOM for name, shape in shapes.items()}
        members, arrays = self._members(sizes), {}
        for name, shape in shapes.items():
            array = self._array(members[_member(name)])
            if array.shape != shape or array.dtype != np.float32:
                raise self._damaged(f"{name} is {array.dtype} of shape {array.shape}, not float32 of shape {shape}")
            arrays[name] = array
        return arrays

    def _array(self, member: bytes) -> np.ndarray:
        try:
            return np.lib.format.read_array(io.BytesIO(member), allow_pickle=False)
        except Exception as error:  # NumPy raises errors of many classes for damaged headers
            raise self._damaged(error) from None

    def _members(self, largest: Mapping[str, int], *, optional: bool = False) -> dict[str, bytes]:
        """Reads files of the zip, which may have at most so many bytes each; missing ones are left out if optional."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                if optional:
                    largest = {name: most for name, most in largest.items() if name in archive.namelist()}
                for name, most in largest.items():
                    if archive.getinfo(name).file_size > most:
                        raise self._damaged(f"{name} is larger than it can be")
                return {name: archive.read(name) for name in largest}  # checks their CRC
        except InputError:
            raise
        except OSError as error:
            if error.strerror is None:
                raise self._damaged(error) from None
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None
        except KeyError as error:
            raise self._foreign(one_line(error).strip("'\"")) from None
        except zipfile.BadZipFile as error:
            if _begins_like_a_zip(self.path):
                raise self._damaged(error) from None
            raise self._foreign("it is not a zip file") from None
        except MemoryError:
            raise
        except Exception as error:  # zipfile raises errors of many classes for damaged files
            raise self._damaged(error) from None

    def _damaged(self, reason: Exception | str) -> InputError:
        text = one_line(reason) if isinstance(reason, Exception) else reason
        return InputError(f"{self.path}: damaged or incomplete: {text}; copy it again, or export the model again")

    def _foreign(self, reason: str) -> InputError:
        return InputError(f"{self.path}: not a file that --stage=export --format=model wrote: {reason}")


def is_file(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path that may be a run's directory is a file."""
    return local_path(path, "--workdir").is_file()


def content(
    about: Mapping[str, Any],
    weights: Weights,
    card: bytes | None = None,
    training_images: Iterable[str] | None = None,
) -> bytes:
    """Returns the bytes of a model file.

    Args:
        about: what ``ModelArchive`` needs; it may have more.
        weights: the network's parameters and batch statistics.
        card: the model card; None: there is none.
        training_images: the digests of the training images; None: they are not known.
    """
    stored, kept = io.BytesIO(), marked({"kind": KIND, **without_paths(about)}, OF_MODEL_FILES)
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps(files.plain(kept), indent=2, allow_nan=False)
        archive.writestr(_entry(_ABOUT), text + "\n")
        if card is not None:
            archive.writestr(_entry(_CARD), card)
        if training_images is not None:
            archive.writestr(_entry(_DIGESTS), _file_of(packed(training_images)))
        for name, array in weights.items():
            archive.writestr(_entry(_member(name)), _file_of(np.ascontiguousarray(array, np.float32)))
    return stored.getvalue()


def without_paths(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy in which settings, at any depth, name no folders of this machine."""
    copy = {key: without_paths(value) if isinstance(value, Mapping) else value for key, value in about.items()}
    for group, _, name in (key.partition(".") for key in settings.PATHS):
        if isinstance(copy.get(group), dict) and name in copy[group]:
            copy[group][name] = ""
    return copy


def _file_of(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return entry


def _member(weight: str) -> str:
    return f"weights/{weight}.npy"


def _begins_like_a_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
