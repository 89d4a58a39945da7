"""The files of a finished run, made without training: the classifiers' logits are invented, everything else is real."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.config import load
from chimeramix_jax.data.loading import FewShotDataset, LabelledImages
from chimeramix_jax.reporting import pictures
from chimeramix_jax.reporting.metrics import MetricsLog
from chimeramix_jax.runs import provenance
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.evaluation import evaluate_logits

EPOCHS = 20
TEST_IMAGES_PER_CLASS = 20


def make(
    path: Path, names: tuple[str, ...], *, side: int = 8, per_class: int = 5, noise: float = 2.0, baseline: bool = True
) -> tuple[Workdir, FewShotDataset, dict[str, np.ndarray]]:
    """Writes the files of a run; returns its directory, its data and its classifiers' predictions."""
    rng, classes = np.random.default_rng(0), len(names)
    sizes = {"train": per_class, "test": TEST_IMAGES_PER_CLASS}
    train, test = (_images(rng, classes, split, number, side) for split, number in sizes.items())
    dataset = FewShotDataset("digits", names, train, np.arange(len(train.labels)), test)
    config = load("digits")
    config.max_labels_per_class = per_class
    workdir = Workdir(path)
    workdir.check(config)
    workdir.claim(config)
    parts = ("classifier", "baseline") if baseline else ("classifier",)
    logits = {part: _logits(rng, test.labels, classes, noise * number) for number, part in enumerate(parts, start=1)}
    evaluations = {part: dataclasses.asdict(evaluate_logits(values, test.labels)) for part, values in logits.items()}
    results = {
        "dataset": "digits",
        "experiment": config.experiment,
        "max_labels_per_class": per_class,
        "seed": 0,
        "test": evaluations["classifier"],
        "seconds": {"generator": 98.5} | dict.fromkeys(parts, 61.0),
        **provenance.record(),
        "config": settings.config_to_dict(config),
    }
    files.write_json(workdir.results, results | ({"baseline": {"test": evaluations["baseline"]}} if baseline else {}))
    _write_logs(workdir, parts)
    for picture in (workdir.picture, workdir.masks_picture, workdir.generator / "pictures" / "mixing-epoch-0010.png"):
        pictures.save_png(picture, Image.new("RGB", (900, 300), (200, 210, 220)))
    return workdir, dataset, {part: np.argmax(values, axis=1) for part, values in logits.items()}


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
