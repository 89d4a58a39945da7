"""The training charts of all stages, made from their metrics logs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chimeramix_jax.report.curves import Chart, Series, chart
from chimeramix_jax.reporting import metrics
from chimeramix_jax.reporting.stage_files import METRICS

Lines = Sequence[Mapping[str, Any]]


def generator_charts(directory: Path) -> list[Chart]:
    """Returns the charts of the generator's training; empty without a metrics log."""
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
        chart("Generator loss", "weighted sum of losses", [_series(lines, "generator", "generator", 1)]),
    )
    return [chart for chart in charts if chart is not None]


def pretraining_charts(directory: Path) -> list[Chart]:
    """Returns the charts of pretraining; empty without a metrics log."""
    lines = _read(directory)
    charts = (
        chart("Contrastive loss", "cross-entropy in nats", [_series(lines, "loss", "training", 1)]),
        chart("Views recognised", "share of views", [_series(lines, "accuracy", "training", 1)], percent=True),
    )
    return [chart for chart in charts if chart is not None]


def classifier_charts(
    directories: Mapping[str, Path], final: Mapping[str, Mapping[str, Any]], split: str
) -> list[Chart]:
    """Returns the charts of the classifiers' training, given their directories and final evaluations by experiment.

    Classifiers without held-out images have no evaluation.
    """
    accuracy, loss = [], []
    for colour, (experiment, directory) in enumerate(directories.items(), start=1):
        lines, evaluation = _read(directory), final.get(experiment, {"top1": None, "loss": None})
        evaluated, trained = f"{experiment}, {split} images", f"{experiment}, training"
        accuracy += [
            _series(lines, f"{split}_top1", evaluated, colour, final=evaluation["top1"]),
            _series(lines, "accuracy", trained, colour, dashed=True),
        ]
        loss += [
            _series(lines, f"{split}_loss", evaluated, colour, final=evaluation["loss"]),
            _series(lines, "loss", trained, colour, dashed=True),
        ]
    charts = (
        chart("Accuracy", "share of images", accuracy, percent=True),
        chart("Loss", "cross-entropy in nats", loss),
    )
    return [chart for chart in charts if chart is not None]


def _read(directory: Path) -> Lines:
    path = directory / METRICS
    return metrics.read(path) if path.exists() else []


def _series(
    lines: Lines, name: str, label: str, colour: int, *, dashed: bool = False, final: float | None = None
) -> Series:
    lines = [line for line in lines if line.get("epoch")]  # others were not written by this program
    points = [(line["epoch"], line[name]) for line in lines if name in line]
    if final is not None and lines:
        points.append((lines[-1]["epoch"], final))  # the last epoch is evaluated only in the results
    return Series(label, points, colour, dashed)
