"""Exports a classifier: builds the file, checks it, and writes it only if it agrees with the classifier."""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.config import catalog
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.extensions import lookup
from chimeramix_jax.runs import model_archive, provenance, same_data
from chimeramix_jax.runs.calibration import temperature_of
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.restore import TrainedClassifier, finished_classifier, source_of, training_images
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import stopping
from chimeramix_jax.stored_format import marked
from chimeramix_jax.training.evaluation_views import EvaluationViews
from chimeramix_jax.use import export_formats, outputs
from chimeramix_jax.use.export import checking, stablehlo_file
from chimeramix_jax.use.export.checking import Agreement, Runner
from chimeramix_jax.use.export.program import Program

Compare = Callable[[Runner], Agreement]

# What a model file has of the data stored with a checkpoint; those of early versions lack the data's digests.
_OF_CHECKPOINTS = ("class_names", "train_indices", "data", "epoch")

# What may be replaced by a file of each format; the folder of a SavedModel must be new or empty.
_KINDS: Mapping[str, tuple[str, Callable[[Path], bool]]] = {
    export_formats.MODEL: ("a model file of this program", outputs.is_model),
    export_formats.ONNX: ("an ONNX file", outputs.is_onnx),
    export_formats.STABLEHLO: ("a StableHLO file of this program", stablehlo_file.is_one),
}


@dataclass(frozen=True)
class Exported:
    """A file, or the folder of a SavedModel, that was written."""

    path: Path
    size: int  # bytes
    # How well it agrees with the classifier; None for a model file, which holds the very same weights.
    agreement: Agreement | None


def export(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    file_format: str | None = None,
    half: bool = False,
    config: ConfigDict | None = None,
) -> Exported:
    """Writes the classifier of a finished run as a file, after comparing both on the run's held-out images.

    Args:
        workdir: the directory of a run with a finished classifier, or a model file.
        output: the file, which replaces an older one of the same format, or a new folder for "savedmodel"; None:
            ``model`` with the format's extension, beside the run's other files or the model file.
        file_format: "onnx", "stablehlo", "savedmodel" or "model"; None: as the extension of ``output`` says.
        half: store the weights in float16, which halves the file; not for "model".
        config: settings, which must equal the run's in everything that affects results; None: the run's own settings.

    Raises:
        InputError: there is no finished classifier, an argument is invalid, the file may not be replaced, the held-out
            images are missing or have changed, or the file does not agree with the classifier; nothing was written.
        StorageError: the disk is full.
        Stopped: the program was asked to stop; nothing was written.
    """
    if file_format is None:
        file_format = export_formats.format_of(None if output is None else os.fspath(output))
    export_formats.check(file_format, half=half)
    assert file_format is not None
    source = source_of(workdir)
    path = _target(source, output, file_format)
    config = source.settings_like(config)
    if file_format == export_formats.SAVEDMODEL and output is not None:
        outputs.refuse_among_photos(path, "--output", (), config)
    trained = finished_classifier(source, config)
    if file_format == export_formats.MODEL:
        _refuse_custom_code(config)
        stored, agreement = _model(source, config, trained), None
    else:
        program, compare = _program(source, config, trained, half)
        if file_format == export_formats.SAVEDMODEL:
            return _saved_model(program, path, compare)
        stored, agreement = _file(program, file_format, compare)
    stopping.raise_if_asked()
    _write(path, stored)
    return Exported(path, len(stored), agreement)


def _refuse_custom_code(config: ConfigDict) -> None:
    """Raises InputError if a model file would lack the code of the network."""
    code = config.classifier.model_code
    if lookup.is_file(code):
        raise InputError(
            f"--format=model: {config.classifier.model!r} is a custom network, of {lookup.label_of(code)}, and a model "
            "file holds no code; choose stablehlo or savedmodel, or share the run's folder"
        )


def _program(
    source: Workdir | ModelArchive, config: ConfigDict, trained: TrainedClassifier, half: bool
) -> tuple[Program, Compare]:
    """Returns what a file computes, and the function that compares the file with the classifier."""
    dataset = _dataset(source, config)
    sides = list(dict.fromkeys((catalog.stored_image_side(config.dataset), config.classifier.image_side)))
    temperature = temperature_of(source)
    metadata = _metadata(trained, config, sides, half) | {"temperature": temperature, "fit": config.dataset.fit}
    options = EvaluationViews.of(config), temperature, config.dataset.fit
    program = Program(trained.in_float32(), sides, half, metadata, *options)
    # A run with folds may have no held-out images; then training images show whether the file agrees.
    kind = "held-out" if len(dataset.held_out.labels) else "training"
    images = (dataset.held_out if kind == "held-out" else dataset.train).images
    return program, partial(checking.check, program, held_out=images, kind=kind)


def _target(source: Workdir | ModelArchive, output: str | os.PathLike[str] | None, file_format: str) -> Path:
    """Returns the file to write; raises InputError if nothing can be written there."""
    if output is None:
        folder = source.path.parent if isinstance(source, ModelArchive) else source.path
        path = folder / f"model{export_formats.EXTENSIONS[file_format]}"
    else:
        path = outputs.target(output, "--output")
    if path.is_dir() and file_format != export_formats.SAVEDMODEL:
        raise InputError(f"--output={path}: is a folder; --format={file_format} is a file")
    if isinstance(source, ModelArchive) and path.exists() and path.samefile(source.path):
        raise InputError(f"--output={path}: is the model file that is to be exported; name another file")
    if file_format in _KINDS:
        outputs.refuse_other_kind(path, "--output", *_KINDS[file_format])
    files.refuse_unwritable(path, "--output")
    return path


def _write(path: Path, stored: bytes) -> None:
    try:
        files.write_bytes(path, stored)
    except StorageError:
        raise
    except OSError as error:
        raise InputError(f"--output={path}: cannot be written: {error.strerror}") from None


def _model(source: Workdir | ModelArchive, config: ConfigDict, trained: TrainedClassifier) -> bytes:
    """Returns the content of a model file, with the run's results and model card if it has any.

    The settings are those that the run predicts with now: it may have been evaluated again since the checkpoint.
    """
    about = {"data": {}} | {key: trained.about[key] for key in _OF_CHECKPOINTS if key in trained.about}
    about["config"] = settings.config_to_dict(config)
    if isinstance(source, ModelArchive):
        about |= {key: source.about[key] for key in ("results", "versions") if key in source.about}
        card = source.card
    else:
        results = source.read_results() if source.results.exists() else None
        about |= {"results": results, "versions": provenance.record()["versions"]}
        card = source.model_card.read_bytes() if source.model_card.exists() else None
    return model_archive.content(about, trained.weights(), card, training_images(source, trained))


def _file(program: Program, file_format: str, compare: Compare) -> tuple[bytes, Agreement]:
    """Returns the content of an ONNX or StableHLO file, and how well it agrees with the classifier."""
    if file_format == export_formats.ONNX:
        from chimeramix_jax.use.export import onnx_file  # needs packages that only this format needs

        stored = onnx_file.content(program)
        return stored, compare(onnx_file.runner(stored))
    stored = stablehlo_file.content(program)
    return stored, compare(stablehlo_file.runner(stored))


def _saved_model(program: Program, path: Path, compare: Compare) -> Exported:
    """Writes a SavedModel, which is a folder; leaves none if it does not agree with the classifier."""
    from chimeramix_jax.use.export import saved_model  # needs TensorFlow

    with contextlib.ExitStack() as unfinished:
        folder = unfinished.enter_context(files.whole_folder(path))
        unfinished.enter_context(stopping.before_ending(partial(shutil.rmtree, folder, ignore_errors=True)))
        saved_model.write(program, folder)
        agreement = compare(saved_model.runner(folder))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Exported(path, size, agreement)


def _dataset(source: Workdir | ModelArchive, config: ConfigDict) -> FewShotDataset:
    """Loads the images that the file is checked on; raises InputError if they are not those of the run."""
    dataset = load_dataset(config)
    if isinstance(source, ModelArchive):
        source.refuse_other_data(dataset)
    else:
        same_data.refuse_other_data(source, dataset, "export")
    return dataset


def _metadata(trained: TrainedClassifier, config: ConfigDict, sides: list[int], half: bool) -> dict[str, Any]:
    """Describes a file for those who find it: its classes, input and output, and where it comes from."""
    about = model_archive.without_paths(
        files.plain({"config": settings.config_to_dict(config), "data": trained.about.get("data")})
    )
    return marked(
        {
            "class_names": list(trained.class_names),
            "input": "uint8 RGB images in 0..255, (batch, height, width, 3), upright, of any height and width",
            "output": "float32 probabilities of the classes, (batch, classes)",
            "image_sides": sides,  # to which images are resized inside, one after the other
            "weights": np.dtype(np.float16 if half else np.float32).name,
            "epochs": trained.epochs,
            "data_sha256": about["data"],
            "config": about["config"],
            "versions": provenance.record()["versions"],
        }
    )
