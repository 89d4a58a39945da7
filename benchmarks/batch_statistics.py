"""Measures what batch norm statistics of unmixed images change in the predictions of finished runs.

    python -m benchmarks.batch_statistics runs/mixup runs/chimeramix_grid

``classifier.batch_statistics=unmixed`` changes nothing but the statistics that are stored after the last step, so
training a run again is not necessary: for each run, the statistics of its classifier, and of its baseline if it has
one, are computed anew in memory. The images are those that the run was evaluated on, with its mirror images or crops.
Choose settings by runs with ``--config.dataset.evaluate_on=validation`` only. The runs are not changed.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import jax

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.ensemble import Ensemble
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.networks import parameters_and_statistics


class Comparison(NamedTuple):
    """A network's accuracies, in [0, 1], with either kind of statistics."""

    run: str
    experiment: str
    examples: int
    running: float
    unmixed: float


def compared(workdir: Path) -> list[Comparison]:
    """Returns the comparison of a run's classifier, and of its baseline if there is one; the classifier's first.

    Raises InputError if there is no finished classifier, if the run has unmixed statistics already, or for an ensemble,
    whose members would have to be finished one by one.
    """
    place = Workdir(workdir)
    parts = [part for part in (place.classifier, place.baseline) if part.exists()]
    if not parts:
        raise InputError(f"{workdir}: holds no trained classifier")
    rows = []
    for part in parts:
        trained = TrainedClassifier.newest(part)
        config = settings.from_dict(trained.about["config"])
        if trained.epochs < config.classifier.epochs:
            raise InputError(f"{part}: is trained for {trained.epochs} of {config.classifier.epochs} epochs; finish it")
        if isinstance(trained.network, Ensemble):
            raise InputError(f"{workdir}: is an ensemble; only runs of single networks can be compared")
        if config.classifier.batch_statistics == "unmixed":
            raise InputError(f"{workdir}: has unmixed statistics already; name runs with running averages")
        with prepared(Request(config, place, details=False)) as run:
            with run.config.unlocked():
                run.config.classifier.batch_statistics = "unmixed"  # of what is computed here, not of the run
            stage = run.classifier_stage(mixes=False)
        parameters, statistics = parameters_and_statistics(trained.network)
        state = {"parameters": parameters, "batch_statistics": statistics}
        finished = stage.finished(state, jax.random.key(config.seed))
        before, after = stage.classifier.measure(state), stage.classifier.measure(finished)
        experiment = config.experiment if part == place.classifier else "its baseline"
        rows.append(Comparison(workdir.name, experiment, before.examples, before.top1, after.top1))
    return rows


def table(rows: list[Comparison]) -> str:
    """Returns a line per network: accuracies and their difference, in percent."""
    lines = [["run", "experiment", "images", "running averages", "unmixed", "difference"]]
    for row in rows:
        change = f"{100 * (row.unmixed - row.running):+.1f}"
        shares = [f"{100 * share:.1f}%" for share in (row.running, row.unmixed)]
        lines.append([row.run, row.experiment, str(row.examples), *shares, change])
    return aligned(lines)


def main() -> int:
    """Prints the table of the given runs; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of finished runs")
    try:
        print(table([row for run in parser.parse_args().runs for row in compared(run)]))
    except InputError as error:
        print(f"batch_statistics: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
