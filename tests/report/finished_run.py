"""The files of a finished run, made without training: the classifiers' logits are invented, everything else is real."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.config import load
from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.mixing import pictures as sheets
from chimeramix_jax.reporting import pictures
from chimeramix_jax.reporting.metrics import MetricsLog
from chimeramix_jax.runs import provenance
from chimeramix_jax.runs.calibration import Predicted, calibrated_results
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.evaluation import evaluate_logits

EPOCHS = 20
TEST_IMAGES_PER_CLASS = 20


Made = tuple[Workdir, FewShotDataset, dict[str, np.ndarray]]

# Of classes, for pages that have to show them literally.
HOSTILE_NAMES = ("<script>document.title = 'owned'</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }} & co")


def make(path: Path, names: tuple[str, ...], *, side: int = 8, per_class: int = 5, **about) -> Made:
    """Writes the files of a run on noise; returns its directory, its data and its classifiers' predictions."""
    rng, classes = np.random.default_rng(0), len(names)
    sizes = {"train": per_class, "test": TEST_IMAGES_PER_CLASS}
    train, test = (_images(rng, classes, split, number, side) for split, number in sizes.items())
    dataset = FewShotDataset("digits", names, train, np.arange(len(train.labels)), test)
    return of_data(path, dataset, per_class, **about)


def make_of_photos(
    path: Path, photos: Path, *, classes: int = 10, per_class: int = 50, side: int = 96, **about
) -> Made:
    """Does the same with crops of two real photos; the held-out ones, a fifth, are also files in the folder ``photos``.

    The file of the last one is missing, as if it had been moved since.
    """
    rng, sources = np.random.default_rng(0), [Image.fromarray(pixels) for pixels in load_sample_images().images]
    held_out = per_class // 5
    splits = []
    for split, count in (("train", per_class - held_out), ("test", held_out)):
        labels = np.repeat(np.arange(classes, dtype=np.int32), count)
        crops = [_crop(rng, sources[label % 2]) for label in labels]
        names = tuple(f"class {label}/{split}-{number}.jpg" for number, label in enumerate(labels))
        splits.append(LabelledImages(np.stack([np.asarray(squared(crop, side)) for crop in crops]), labels, names))
    for name, crop in list(zip(names, crops, strict=True))[:-1]:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        crop.save(photos / name, quality=95)
    class_names = tuple(f"class {label}" for label in range(classes))
    dataset = FewShotDataset("image_folder", class_names, splits[0], np.arange(len(splits[0].labels)), splits[1])
    dataset = dataclasses.replace(dataset, divided=True, directory=photos)
    return of_data(path, dataset, per_class - held_out, directory=str(photos), **about)


def of_data(
    path: Path,
    dataset: FewShotDataset,
    per_class: int,
    *,
    noise: float = 2.0,
    baseline: bool = True,
    directory: str = "",
) -> Made:
    """Writes the files of a run on these data."""
    rng, test, classes = np.random.default_rng(1), dataset.held_out, len(dataset.class_names)
    config = load(dataset.name)
    config.dataset.directory = directory
    config.max_labels_per_class = per_class
    workdir = Workdir(path)
    workdir.check(config)
    workdir.claim(config)
    parts = ("classifier", "baseline") if baseline else ("classifier",)
    logits = {part: _logits(rng, test.labels, classes, noise * number) for number, part in enumerate(parts, start=1)}
    evaluations = {part: dataclasses.asdict(evaluate_logits(values, test.labels)) for part, values in logits.items()}
    results = {
        "dataset": dataset.name,
        "experiment": config.experiment,
        "max_labels_per_class": per_class,
        "seed": 0,
        "test": evaluations["classifier"],
        "seconds": {"generator": 98.5} | dict.fromkeys(parts, 61.0),
        **provenance.record(),
        "config": settings.config_to_dict(config),
        "calibration": _calibration(test, logits["classifier"], noise),
    }
    files.write_json(workdir.results, results | ({"baseline": {"test": evaluations["baseline"]}} if baseline else {}))
    _write_logs(workdir, parts)
    _draw_sheets(rng, workdir, dataset)
    return workdir, dataset, {part: np.argmax(values, axis=1) for part, values in logits.items()}


def _calibration(test: LabelledImages, logits: np.ndarray, noise: float) -> dict[str, Any]:
    """Calibrates the classifier by its invented predictions of as many validation images."""
    validation = _logits(np.random.default_rng(2), test.labels, logits.shape[1], noise)
    measured, fitting = (
        Predicted(*about, test.labels, test.names) for about in (("test", logits), ("validation", validation))
    )
    return calibrated_results(measured, fitting)


def _crop(rng: np.random.Generator, photo: Image.Image) -> Image.Image:
    """Cuts a square of random size from a photo, and enlarges it to what a phone's photo has after a messenger."""
    side = int(rng.integers(160, photo.height))
    left, top = int(rng.integers(photo.width - side)), int(rng.integers(photo.height - side))
    return photo.crop((left, top, left + side, top + side)).resize((480, 480))


def _draw_sheets(rng: np.random.Generator, workdir: Workdir, dataset: FewShotDataset) -> None:
    """Draws sheets of mixing whose mixes are made from pixels."""
    labels = np.unique(dataset.train.labels)[: sheets.MOST_PAIRS]
    images = dataset.train.images.astype(np.float32) / 127.5 - 1
    a = np.stack([images[np.flatnonzero(dataset.train.labels == label)[0]] for label in labels])
    b = np.stack([images[np.flatnonzero(dataset.train.labels == label)[-1]] for label in labels])
    masks = np.kron(rng.integers(0, 2, (sheets.MASKS_PER_PAIR + 2, 4, 4)), np.ones((a.shape[1] // 4,) * 2))[..., None]
    of_pairs = masks[: len(a)]
    names = [dataset.class_names[label] for label in labels]
    pairs = pictures.mixing_sheet(a, b, of_pairs, a * of_pairs + b * (1 - of_pairs), a, b, names)
    pictures.save_png(workdir.picture, pairs)
    pictures.save_png(workdir.generator / "pictures" / "mixing-epoch-0010.png", pairs)
    pictures.save_png(workdir.masks_picture, pictures.masks_sheet(a[0], b[0], masks, a[0] * masks + b[0] * (1 - masks)))


def _images(rng: np.random.Generator, classes: int, split: str, per_class: int, side: int) -> LabelledImages:
    labels = np.repeat(np.arange(classes, dtype=np.int32), per_class)
    names = tuple(f"{split}_{number:05}" for number in range(len(labels)))
    return LabelledImages(rng.integers(0, 256, (len(labels), side, side, 3), dtype=np.uint8), labels, names)


def _logits(rng: np.random.Generator, labels: np.ndarray, classes: int, noise: float) -> np.ndarray:
    return (4 * np.eye(classes)[labels] + noise * rng.standard_normal((len(labels), classes))).astype(np.float32)


def _write_logs(workdir: Workdir, parts: tuple[str, ...]) -> None:
    generator = MetricsLog(workdir.generator / "metrics.jsonl")
    terms = ("reconstruction", "perceptual", "adversarial", "discriminator", "generator")
    for epoch in range(1, EPOCHS + 1):
        losses = {name: (number + 1) / epoch for number, name in enumerate(terms)}
        generator.write(stage="generator", epoch=epoch, step=10 * epoch, learning_rate=1e-3, **losses)
    for part in parts:
        log = MetricsLog(workdir.path / part / "metrics.jsonl")
        for epoch in range(1, EPOCHS + 1):
            measured = {"test_top1": epoch / 30, "test_loss": 2 / epoch} if epoch % 5 == 0 and epoch < EPOCHS else {}
            rate = 0.1 * (1 - epoch / EPOCHS)
            trained = {"loss": 2 / epoch, "accuracy": epoch / 25, "learning_rate": rate}
            log.write(stage="classifier", epoch=epoch, step=10 * epoch, **trained, **measured)
