"""Measures how well finished runs are calibrated, and by which temperature.

    python -m benchmarks.temperatures runs/a-seed-0 runs/a-seed-1 runs/b-seed-0 runs/b-seed-1

A run without folds and without ``val/`` has no temperature. This asks whether a temperature that suits other photos
would do instead. Every run is shown all views (``benchmarks.averaged_views``), and has a line with the calibration
errors of its probabilities averaged over the views, of the probabilities of its averaged logits, and with the
temperature that suits the former. If the runs are of several folders of images, each folder has a line with the means
of its runs: the error without a temperature, at the folder's own one, and at that of the other folders (geometric means
of the runs' and folders' temperatures). The images are those that the runs were evaluated on, so the folder's own
temperature is optimistic. Choose settings by runs with ``--config.dataset.evaluate_on=validation`` only. The runs are
not changed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from benchmarks.averaged_views import Outputs, finished, outputs
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.calibration_error import calibration
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.training.temperature import fitted_temperature, probabilities


class Predictions(NamedTuple):
    """A run's predictions for held-out images."""

    run: str
    images: str  # name of the folder or data set
    averaged: Float[np.ndarray, "examples classes"]  # logarithms of the probabilities averaged over views and members
    averaged_logits: Float[np.ndarray, "examples classes"]
    labels: Int[np.ndarray, "examples"]

    @classmethod
    def of(cls, run: str, found: Outputs) -> "Predictions":
        """Averages what is said of an image over all views and members."""
        every = found.log_probabilities.reshape(-1, *found.log_probabilities.shape[2:]).astype(np.float64)
        averaged = special.logsumexp(every, axis=0) - np.log(len(every))
        return cls(run, found.images, averaged, every.mean(axis=0), found.labels)

    @property
    def temperature(self) -> float:
        """The temperature that suits these images."""
        return fitted_temperature(self.averaged, self.labels)


def error(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, "examples"], temperature: float = 1.0
) -> float:
    """Returns the expected calibration error at a temperature, in [0, 1]."""
    shares = probabilities(logits, temperature)
    return calibration(shares.max(axis=1), shares.argmax(axis=1) == labels).error


def runs_table(runs: Sequence[Predictions]) -> str:
    """Returns a line per run."""
    lines = [["run", "images", "confidence", "accuracy", "error", "of averaged logits", "temperature"]]
    for run in runs:
        shares = np.exp(run.averaged)
        measured = shares.max(axis=1).mean(), (shares.argmax(axis=1) == run.labels).mean()
        errors = error(run.averaged, run.labels), error(run.averaged_logits, run.labels)
        percent = (f"{100 * value:.1f}" for value in (*measured, *errors))
        lines.append([run.run, str(len(run.labels)), *percent, f"{run.temperature:.2f}"])
    return aligned(lines)


def folders_table(runs: Sequence[Predictions]) -> str:
    """Returns a line per folder of images with mean calibration errors, in percent; at least two folders."""
    of_folders: dict[str, list[Predictions]] = {}
    for run in runs:
        of_folders.setdefault(run.images, []).append(run)
    suited = {images: _mean([run.temperature for run in own]) for images, own in of_folders.items()}
    lines = [["images", "runs", "error", "at its own temperature", "at that of the others"]]
    for images, own in of_folders.items():
        of_others = _mean([value for name, value in suited.items() if name != images])
        without, at_own, at_others = (
            f"{100 * np.mean([error(run.averaged, run.labels, temperature) for run in own]):.1f}"
            for temperature in (1.0, suited[images], of_others)
        )
        beside = f"{at_own} ({suited[images]:.2f})", f"{at_others} ({of_others:.2f})"
        lines.append([images, str(len(own)), without, *beside])
    return aligned(lines)


def _mean(temperatures: Sequence[float]) -> float:
    """Returns the geometric mean."""
    return float(np.exp(np.mean(np.log(temperatures))))


def main() -> int:
    """Prints the tables of the given runs; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of finished runs")
    arguments = parser.parse_args()
    try:
        trained = [(run, finished(run)) for run in arguments.runs]  # all are read before any is measured
        # Where a run averages weights, its predictions are those of the averaged ones, which come first.
        runs = [Predictions.of(str(run), next(outputs(run, classifier))) for run, classifier in trained]
    except InputError as refusal:
        print(f"temperatures: {refusal}", file=sys.stderr)
        return 2
    print(runs_table(runs))
    if len({run.images for run in runs}) > 1:
        print(f"\n{folders_table(runs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
