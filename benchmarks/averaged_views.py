"""Measures what averaging over mirror images and shifted crops changes in the predictions of finished runs.

    python -m benchmarks.averaged_views runs/a-seed-0 runs/a-seed-1

Training does not depend on ``evaluation.mirror`` and ``evaluation.crops``, so each run's classifier is measured with
the image alone, with its mirror image, with four shifted crops, and with the mirror images of all five. A run with
averaged weights (``classifier.averaged_share``) is also measured with the newest ones, which are those of the same
training without averaging. The images are those that the run was evaluated on. Choose settings by runs with
``--config.dataset.evaluate_on=validation`` only. Several runs of one folder get a line with their mean differences and
Student's 95 % interval; ``--to=mirror`` compares with the mirror image instead of the image alone. The runs are not
changed.
"""

import argparse
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from benchmarks.averaged_predictions import FIRST, VIEWS, accuracies, view_log_probabilities
from chimeramix_jax import config as settings
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.ensemble import members_of
from chimeramix_jax.reporting.statistics import estimate
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.restore import TrainedClassifier, finished_classifier
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.averaging import averages
from chimeramix_jax.training.checkpoints import StageCheckpoints
from chimeramix_jax.training.classification_step import evaluated, evaluated_entries
from chimeramix_jax.training.networks import build_classifier, parameters_and_statistics

AVERAGED, NEWEST = "averaged weights", "newest weights"


class Outputs(NamedTuple):
    """What a run's classifier says of held-out images."""

    images: str  # name of the folder or data set
    weights: str  # AVERAGED or NEWEST
    log_probabilities: Float[np.ndarray, "members views examples classes"]
    labels: Int[np.ndarray, "examples"]


class Measured(NamedTuple):
    """A run's accuracies, in [0, 1], by the name of what is averaged; those of an ensemble for an ensemble."""

    run: Path
    images: str  # name of the folder or data set
    weights: str  # AVERAGED or NEWEST
    examples: int
    accuracies: dict[str, float]


def finished(workdir: Path) -> TrainedClassifier:
    """Reads a run's classifier; raises InputError if it is missing, not finished, or cannot be shown all views."""
    place = Workdir(workdir)
    config = place.read_config()
    settings.check(_with_all_views(config))
    return finished_classifier(place, config)


def outputs(workdir: Path, trained: TrainedClassifier) -> Iterator[Outputs]:
    """Yields what a run's classifier says of the images that the run was evaluated on."""
    config = settings.from_dict(trained.about["config"])
    with prepared(Request(config, Workdir(workdir), details=False)) as run:
        network, held_out = run.classifier_stage(mixes=False).classifier.network, run.dataset.held_out
    members = members_of(trained.network)
    states = [parameters_and_statistics(member) for member in members]
    averaged = averages(config.classifier)
    kinds = {AVERAGED if averaged else NEWEST: states}
    if averaged and len(members) == 1 and config.classifier.batch_statistics == "running":
        kinds[NEWEST] = [_newest(Workdir(workdir).classifier, config, len(trained.class_names))]
    pixels = resize(held_out.images, config.classifier.image_side)
    images = Path(config.dataset.directory).name if config.dataset.directory else config.dataset.name
    for weights, of_members in kinds.items():
        found = view_log_probabilities(_with_all_views(config), network, of_members, pixels)
        yield Outputs(images, weights, found, held_out.labels)


def measured(workdir: Path, trained: TrainedClassifier) -> Iterator[Measured]:
    """Yields the accuracies of a run's classifier on the images that the run was evaluated on."""
    for images, weights, log_probabilities, labels in outputs(workdir, trained):
        found = accuracies(log_probabilities, labels)
        of_views = {name: found[name]["ensemble"] for name in VIEWS}
        yield Measured(workdir, images, weights, len(labels), of_views)


def table(runs: list[Measured], to: str = FIRST) -> str:
    """Returns a line per run with its accuracies, and one per folder of several runs with mean differences, in percent.

    Differences are to the view ``to`` of the same run, with its newest weights if they were measured.
    """
    lines = [["run", "weights", "images", *VIEWS]]
    for run in runs:
        accuracies = (f"{100 * run.accuracies[name]:.1f}" for name in VIEWS)
        lines.append([str(run.run), run.weights, str(run.examples), *accuracies])
    newest_last = sorted(runs, key=lambda run: run.weights == NEWEST)
    firsts = {run.run: run.accuracies[to] for run in newest_last}
    for images, weights in dict.fromkeys((run.images, run.weights) for run in runs):
        same = [run for run in runs if (run.images, run.weights) == (images, weights)]
        if len(same) > 1:
            changes = (_change([run.accuracies[name] - firsts[run.run] for run in same]) for name in VIEWS)
            lines.append([f"{images}: {len(same)} differences to {to}", weights, "", *changes])
    return aligned(lines)


def _newest(directory: Path, config: ConfigDict, classes: int) -> tuple[Any, Any]:
    """Reads the parameters and batch statistics that a run's training ended with, which its predictions do not use."""
    network = nnx.eval_shape(lambda: build_classifier(config, classes, nnx.Rngs(0)))
    entries = evaluated_entries(network, averages=False)
    with StageCheckpoints(directory / "checkpoints", read_only=True) as stored:
        step = stored.latest_step()
        assert step is not None, "a finished classifier has a checkpoint"
        return evaluated(stored.restore(step, entries)[0])


def _with_all_views(config: ConfigDict) -> ConfigDict:
    changed = copy.deepcopy(config)
    with changed.unlocked():
        changed.evaluation.crops, changed.evaluation.mirror = 5, True
    return changed


def _change(differences: list[float]) -> str:
    """Returns the mean of differences with its interval, in points."""
    change = estimate([100 * difference for difference in differences])
    low, high = change.interval or (change.mean, change.mean)
    return f"{change.mean:+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> int:
    """Prints the table of the given runs; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of finished runs")
    parser.add_argument("--to", choices=VIEWS, default=FIRST, help="what the others are compared with")
    arguments = parser.parse_args()
    try:
        runs = [(run, finished(run)) for run in arguments.runs]  # all are read before any is measured
        print(table([found for run in runs for found in measured(*run)], arguments.to))
    except InputError as error:
        print(f"averaged_views: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
