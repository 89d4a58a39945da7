"""What mixing changes, seed by seed: a table over runs that also trained the baseline, with a 95 % interval.

    python -m benchmarks.paired_differences runs/digits-chimeramix_grid-5-per-class-seed-*

Prints Markdown. The interval is Student's t on the differences of each run, whose two classifiers share the subset and
the images' order. Runs measured on validation images are compared on those.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats


def main() -> None:
    """Prints a line per run, their mean, and the interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="directories of runs with a baseline")
    rows = sorted(row(run) for run in parser.parse_args().runs)
    print("| seed | baseline | with mixing | difference |\n|---|---|---|---|")
    for seed, baseline, mixed in rows:
        print(f"| {seed} | {baseline:.2%} | {mixed:.2%} | {100 * (mixed - baseline):+.2f} points |")
    _, baselines, mixes = np.array(rows).T
    differences = 100 * (mixes - baselines)
    print(f"| mean | {baselines.mean():.2%} | {mixes.mean():.2%} | {differences.mean():+.2f} points |")
    if len(rows) > 1:
        error = differences.std(ddof=1) / np.sqrt(len(rows))
        low, high = stats.t.interval(0.95, len(rows) - 1, differences.mean(), error)
        print(
            f"\nThe differences' standard deviation is {differences.std(ddof=1):.2f} points, the 95 % interval of their"
        )
        print(f"mean {low:+.2f} to {high:+.2f} points ({len(rows)} seeds).")


def row(run: Path) -> tuple[int, float, float]:
    """Seed, and top-1 of the baseline and with mixing."""
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    split = "validation" if "validation" in results else "test"
    return results["seed"], results["baseline"][split]["top1"], results[split]["top1"]


if __name__ == "__main__":
    main()
