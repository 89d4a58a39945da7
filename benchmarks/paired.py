"""Compares finished runs with the first one, image by image, by the exact McNemar test.

    python -m benchmarks.paired runs/plain runs/mixed runs/other

The runs must have been evaluated on the same images, whose predictions are in ``held_out.csv``. The test covers the
choice of these images, not that of the training images or the seed. The runs are not changed.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.reporting import statistics
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs.workdir import Workdir


def right_images(workdir: Path) -> dict[str, bool]:
    """Returns whether each held-out image of a run is classified right, by the image's name.

    Raises InputError if the run has no predictions, or has several of an image.
    """
    path = Workdir(workdir).held_out
    if not path.exists():
        raise InputError(f"{path}: does not exist; name finished runs")
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [(row["image"], row["predicted_class"] == row["true_class"]) for row in csv.DictReader(file)]
    except (ValueError, KeyError, csv.Error) as error:  # saved by a spreadsheet, perhaps
        raise InputError(f"{path}: cannot be read: {one_line(error)}; write it again with --stage=evaluate") from None
    if len(rows) > len(dict(rows)):
        raise InputError(f"{path}: has several predictions of an image, which are not independent")
    return dict(rows)


def table(workdirs: list[Path]) -> str:
    """Returns the accuracies, and each run's difference to the first with its p-value.

    Raises InputError if a run cannot be compared with the first.
    """
    first = right_images(workdirs[0])
    rows = [["run", "images", "accuracy", "difference", "p"]]
    for workdir in workdirs:
        right = right_images(workdir)
        if right.keys() != first.keys():
            raise InputError(f"{workdir}: was evaluated on other images than {workdirs[0]}")
        mine, firsts = (np.array([of[image] for image in first]) for of in (right, first))
        row = [str(workdir), str(len(mine)), f"{100 * mine.mean():.2f} %"]
        if workdir is not workdirs[0]:
            p = statistics.mcnemar(*statistics.only_right(mine, firsts))
            row += [f"{100 * (mine.mean() - firsts.mean()):+.2f}", f"{p:.2g}"]
        rows.append([*row, "", ""][: len(rows[0])])
    return aligned(rows)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of finished runs; the first is compared with")
    try:
        print(table(parser.parse_args().runs))
    except InputError as error:
        print(f"paired: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
