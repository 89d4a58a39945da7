"""Times the summary of a sweep: ``chimeramix summarize`` over invented runs.

    python -m benchmarks.summarize
    python -m benchmarks.summarize --keep FOLDER

Writes the directories of a sweep of 2,016 runs (three data sets, 14 experiments, 6 numbers of images per class, 8
seeds; a few unfinished, missing or damaged) and summarises them in a separate process. Prints the wall time and the
processor time; other work on the machine lengthens mainly the former.
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.made_runs import make_run
from chimeramix_jax.config.experiments import STUDY

DATASETS = {"cifair10": 10, "cifair100": 100, "stl10": 10}  # with their numbers of classes
SIZES = (5, 10, 20, 30, 50, 100)
SEEDS = range(8)


def main() -> None:
    """Makes the sweep, summarises it and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="make the sweep in this folder and leave it there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        print("making the runs ...", flush=True)
        runs = make_sweep(folder)
        size = sum(path.stat().st_size for path in folder.glob("*/results.json"))
        started = time.perf_counter()
        command = [sys.executable, "-m", "chimeramix_jax.summarize", str(folder)]
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
    python = sys.version.split()[0]
    print(f"python {python}, {os.cpu_count()} cores: {runs} runs, {size / 2**20:.0f} MiB of results")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{seconds:.1f} s, computing for {used.ru_utime + used.ru_stime:.1f} s; exit code {ended.returncode}")
    print("(exit code 1: the damaged files were named)")


def make_sweep(folder: Path) -> int:
    """Writes the runs of a sweep; returns the number of planned runs.

    The figures are invented but plausible: more images are better, and experiments differ by a few points.
    """
    generator = np.random.default_rng(0)
    grid = list(itertools.product(DATASETS, STUDY, SIZES, SEEDS))
    for number, (dataset, experiment, size, seed) in enumerate(grid):
        easy = np.random.default_rng(seed).normal(0, 0.02)  # a subset is easy or hard for every experiment
        gain = 0.01 * list(STUDY).index(experiment)
        top1 = float(np.clip(0.15 + 0.13 * np.log(size) + gain + easy + generator.normal(0, 0.01), 0, 1))
        if number % 400 == 399:
            continue  # missing
        path = make_run(
            folder / f"{dataset}-{experiment}-{size}-per-class-seed-{seed}",
            None if number % 300 == 299 else top1,
            config=f"configs/{dataset}.py:{experiment}",
            classes=DATASETS[dataset],
            examples=10000,
            max_labels_per_class=size,
            seed=seed,
        )
        if number % 700 == 699:
            (path / "results.json").write_text('{"dataset": ')
    return len(grid)


if __name__ == "__main__":
    main()
