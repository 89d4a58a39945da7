"""The charts of both stages, from the records that they left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chimeramix_jax.report.curves import Chart, Series, chart
from chimeramix_jax.reporting import metrics

Lines = Sequence[Mapping[str, Any]]


def generator_charts(directory: Path) -> list[Chart]:
    """What the generator's training measured; nothing where there is no record."""
    lines = _read(directory)
    charts = (
        chart(
            "Image losses",
            "loss",
            [
                _series(lines, "reconstruction", "reconstruction (squared error)", 1),
                _series(lines, "perceptual", "perceptual (Laplacian pyramid)", 2),
            ],
        ),
        chart(
            "Adversarial losses",
            "least-squares loss",
            [
                _series(lines, "adversarial", "generator", 1),
                _series(lines, "discriminator", "discriminator", 2),
            ],
        ),
        chart("Generator's loss", "weighted sum of its losses", [_series(lines, "generator", "generator", 1)]),
        chart("Learning rate", "learning rate", [_series(lines, "learning_rate", "both networks", 1)]),
    )
    return [one for one in charts if one is not None]


def classifier_charts(
    directories: Mapping[str, Path], final: Mapping[str, Mapping[str, Any]], split: str
) -> list[Chart]:
    """What the classifiers' training measured, and what each measured at its end.

    Args:
        directories: by experiment, where its record lies.
        final: by experiment, the figures of its results.
        split: "test" or "validation".
    """
    accuracy, loss, rates = [], [], []
    for colour, (experiment, directory) in enumerate(directories.items(), start=1):
        lines, figures = _read(directory), final[experiment]
        of_split, of_training = f"{experiment}, {split} images", f"{experiment}, training"
        accuracy += [
            _series(lines, f"{split}_top1", of_split, colour, final=figures["top1"]),
            _series(lines, "accuracy", of_training, colour, dashed=True),
        ]
        loss += [
            _series(lines, f"{split}_loss", of_split, colour, final=figures["loss"]),
            _series(lines, "loss", of_training, colour, dashed=True),
        ]
        rates.append(_series(lines, "learning_rate", experiment, colour, dashed=colour > 1))
    charts = (
        chart("Images classified right", "share of the images", accuracy, percent=True),
        chart("Loss", "cross entropy in nats", loss),
        chart("Learning rate", "learning rate", rates),
    )
    return [one for one in charts if one is not None]


def _read(directory: Path) -> Lines:
    path = directory / "metrics.jsonl"
    return metrics.read(path) if path.exists() else []


def _series(
    lines: Lines, name: str, label: str, colour: int, *, dashed: bool = False, final: float | None = None
) -> Series:
    points = [(line["epoch"], line[name]) for line in lines if name in line]
    if final is not None and lines:
        points.append((lines[-1]["epoch"], final))  # the last epoch is measured by the results alone
    return Series(label, points, colour, dashed)
