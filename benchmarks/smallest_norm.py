"""Chooses learning rate and weight decay on the training images alone, by the norm of the network's parameters.

    python -m benchmarks.smallest_norm --config=digits:baseline --epochs=20 --final_epochs=100 --workdir=runs/norm
    python -m benchmarks.smallest_norm ... --report  # what is finished so far
    python main.py --config=runs/norm/best.py  # the long training with what was chosen

Brigato and Mougiakakou (*No data augmentation? Alternative regularizations for effective training on small datasets*,
2023, arXiv 2309.01694, and *Tune without validation*, 2024, arXiv 2403.05532) train a grid of learning rates and weight
decays on the training images. Of the trainings that fit these images, they choose the one whose parameters have the
smallest norm; where none fits, the training loss decides. Their final model trains longer and is larger.

Their abstracts and summaries say this much, and no code of theirs was at hand. The rest is ours: the grid, and that a
training fits if its mean accuracy over the last epoch, on augmented images and with dropout, is at least ``--fits``.
Theirs segments the grid by training loss instead.

Each training is an ordinary run in the folder, so the same command resumes. Settings are changed by
``--config.KEY=VALUE``. No validation images are needed, and what the runs measure on test images decides nothing.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from benchmarks import overrides
from chimeramix_jax import config as settings
from chimeramix_jax import files, train_and_evaluate
from chimeramix_jax.config import rules, shipped
from chimeramix_jax.errors import InputError, NonFiniteError
from chimeramix_jax.reporting import metrics
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.runs.workdir import Workdir

BEST = "best.py"
FITS = 0.99  # training accuracy

# Two values per power of ten, around those of the published study.
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
WEIGHT_DECAYS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@dataclass(frozen=True)
class Trained:
    """What a finished training says about its pair."""

    learning_rate: float
    weight_decay: float
    loss: float  # mean over the last epoch, of augmented training images; not finite if it diverged
    accuracy: float  # likewise
    norm: float  # the Euclidean norm of all parameters together


def chosen(trainings: Sequence[Trained], fits: float = FITS) -> Trained:
    """Returns the training with the smallest norm among those whose accuracy is at least ``fits``.

    If there are none, returns the one with the lowest training loss. Trainings that diverged are never chosen; raises
    InputError if all did.
    """
    finite = [training for training in trainings if math.isfinite(training.loss)]
    if not finite:
        raise InputError("--learning_rates: every training diverged; try lower ones")
    fitting = [training for training in finite if training.accuracy >= fits]
    if fitting:
        return min(fitting, key=lambda training: training.norm)
    return min(finite, key=lambda training: training.loss)


@dataclass(frozen=True)
class Grid:
    """The trainings to compare.

    Attributes:
        source: the config file and experiment, as in ``--config``.
        overrides: the arguments ``--config.key=value`` for all trainings.
        epochs: of each training.
        folder: for the runs.
        learning_rates: to combine with every weight decay.
        weight_decays: likewise.
    """

    source: str
    overrides: tuple[str, ...]
    epochs: int
    folder: Path
    learning_rates: tuple[float, ...] = LEARNING_RATES
    weight_decays: tuple[float, ...] = WEIGHT_DECAYS

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """All pairs of a learning rate and a weight decay."""
        return [(rate, decay) for rate in self.learning_rates for decay in self.weight_decays]

    def config_of(self, learning_rate: float, weight_decay: float) -> ConfigDict:
        """Returns the settings of a training; raises InputError if they are not allowed."""
        changes = {
            "classifier.learning_rate": learning_rate,
            "classifier.weight_decay": weight_decay,
            "classifier.epochs": self.epochs,
            "compare_with_baseline": False,
            "evaluation.every_epochs": rules.NEVER,
            "on_nonfinite": "stop",
        }
        overrides.refuse(overrides.keys_of(self.overrides), changes, "--config")
        config = settings.load(self.source)
        settings.override(config, list(self.overrides))
        config.update_from_flattened_dict(changes)
        settings.check(config)
        return config

    def folder_of(self, learning_rate: float, weight_decay: float) -> Path:
        """Returns the directory of a training."""
        return self.folder / f"rate-{learning_rate:g}-decay-{weight_decay:g}"

    def train(self, learning_rate: float, weight_decay: float) -> Trained:
        """Trains a pair, or resumes it, and returns what it says."""
        config, folder = self.config_of(learning_rate, weight_decay), self.folder_of(learning_rate, weight_decay)
        try:
            train_and_evaluate(config, folder)
        except NonFiniteError:
            return Trained(learning_rate, weight_decay, math.nan, 0.0, math.nan)
        found = self.finished(learning_rate, weight_decay)
        assert found is not None
        return found

    def finished(self, learning_rate: float, weight_decay: float) -> Trained | None:
        """Returns what a finished training says; None if it is not finished.

        Raises InputError if its folder holds a training with other settings.
        """
        workdir = Workdir(self.folder_of(learning_rate, weight_decay))
        if not workdir.results.exists():
            return None
        workdir.refuse_other_settings(self.config_of(learning_rate, weight_decay))
        last = metrics.read(workdir.classifier / "metrics.jsonl")[-1]
        return Trained(learning_rate, weight_decay, last["loss"], last["accuracy"], parameter_norm(workdir))


def parameter_norm(workdir: Workdir) -> float:
    """Returns the Euclidean norm of all parameters of a run's classifier, without the statistics of batch norm."""
    weights = TrainedClassifier.newest(workdir.classifier).weights()
    parameters = [array for name, array in weights.items() if name.startswith("parameters")]
    return math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in parameters))


def table(trainings: Sequence[Trained], best: Trained) -> str:
    """Returns all trainings as a table, with a mark beside the chosen one."""
    rows = [["learning rate", "weight decay", "training loss", "training accuracy", "norm", ""]]
    for one in trainings:
        figures = f"{one.loss:.4f}", f"{one.accuracy:.3f}", f"{one.norm:.2f}"
        rows.append([f"{one.learning_rate:g}", f"{one.weight_decay:g}", *figures, "chosen" if one is best else ""])
    return aligned(rows)


def write_best(grid: Grid, best: Trained, final_epochs: int | None) -> Path:
    """Writes the chosen pair as a config file, with the epochs of the final model."""
    file, experiment = shipped.separated(grid.source)
    source = shipped.joined(str(Path(file).absolute()), experiment) if Path(file).is_file() else grid.source
    content = f'''"""Learning rate and weight decay chosen by benchmarks.smallest_norm on the training images alone."""

from ml_collections import ConfigDict

from chimeramix_jax.config import load, override


def get_config() -> ConfigDict:
    config = load({json.dumps(source)})
    override(config, {json.dumps(list(grid.overrides))})
    config.classifier.learning_rate = {best.learning_rate!r}
    config.classifier.weight_decay = {best.weight_decay!r}
    config.classifier.epochs = {final_epochs or grid.epochs}
    return config
'''
    path = grid.folder / BEST
    files.write_bytes(path, content.encode())
    return path


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def main(command_line: Sequence[str] | None = None) -> None:
    """Trains the grid and writes what is best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE[:EXPERIMENT]", help="the settings to begin with")
    parser.add_argument("--epochs", type=int, required=True, help="epochs of each training")
    parser.add_argument("--final_epochs", type=int, help="epochs in best.py; default: the same")
    parser.add_argument("--learning_rates", type=_numbers, default=LEARNING_RATES, metavar="A,B,...")
    parser.add_argument("--weight_decays", type=_numbers, default=WEIGHT_DECAYS, metavar="A,B,...")
    parser.add_argument("--fits", type=float, default=FITS, help="training accuracy from which a training fits")
    parser.add_argument("--workdir", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--report", action="store_true", help="train nothing")
    arguments, changes = parser.parse_known_args(command_line)
    if unknown := [text for text in changes if not text.startswith("--config.")]:
        parser.error(f"unknown: {' '.join(unknown)}; settings are written --config.KEY=VALUE")
    rates, decays = arguments.learning_rates, arguments.weight_decays
    grid = Grid(arguments.config, tuple(changes), arguments.epochs, arguments.workdir, rates, decays)
    try:
        for pair in grid.pairs:  # mistakes before the first training
            grid.config_of(*pair)
        found = [grid.finished(*pair) if arguments.report else grid.train(*pair) for pair in grid.pairs]
        trainings = [training for training in found if training is not None]
        if not trainings:
            raise InputError(f"--workdir={grid.folder}: holds no finished training")
        best = chosen(trainings, arguments.fits)
    except InputError as error:
        print(f"smallest_norm: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(table(trainings, best))
    if not arguments.report:
        print(write_best(grid, best, arguments.final_epochs))


if __name__ == "__main__":
    main()
