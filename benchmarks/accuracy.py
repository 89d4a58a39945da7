"""Accuracies of whole trainings, ours beside the PyTorch twin's (``benchmarks/pytorch_twin.py``), on the same images.

    python -m benchmarks.accuracy --images=path/to/images --workdir=runs/accuracy
    python -m benchmarks.accuracy --images=path/to/images --workdir=runs/accuracy --sides=twin --seeds=0:2
    python -m benchmarks.accuracy --images=path/to/images --workdir=runs/accuracy --report  # what is finished so far

Trains both stages to their end on both sides, for several seeds, each of which draws its own few-shot subset of the
folder by the published rule. The sides share the images and nothing else: every side has its own initial weights and
random numbers. Sizes are those of ``benchmarks/accuracy_settings.py``. The arms are

- *baseline*: the classifier on the augmented images themselves;
- *coin*: one fair coin per batch decides whether the whole batch is mixed by the frozen generator, as published;
- *every*: every batch is mixed.

A seed's arms share its generator. Accuracies are top-1 on all test images, after the last epoch. Intervals are
Student's 95 % ones of means over seeds; where columns are compared, of the means of the seeds' differences.

The same command continues where it was interrupted, and prints the table at once when all is finished. ``--threads``
confines the process to that many of its cores; to train two sides at the same time, start a process for each under
``taskset`` with cores of its own. PyTorch is needed for the twin alone: ``pip install torch``.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from benchmarks.accuracy_settings import ARMS, Sizes, config_of, dataset_config
from benchmarks.speed import processor
from chimeramix_jax import files
from chimeramix_jax.config import parse_seeds
from chimeramix_jax.data import FewShotDataset, load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.results import aligned
from chimeramix_jax.reporting.statistics import Estimate, estimate
from chimeramix_jax.runs import lock
from chimeramix_jax.runtime import host_memory

OURS, TWIN = "ours", "twin"
SIDES = (OURS, TWIN)

Results = Mapping[tuple[str, int, str], dict[str, Any]]  # by side, seed and arm, of what is finished


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared, and where its files lie.

    Attributes:
        images: a folder with ``train/<class>/*`` and, as a rule, ``test/<class>/*``.
        images_per_class: training images of each class.
        seeds: of the subsets and of all random numbers.
        arms: some of ``ARMS``, in the order in which they are trained.
        sides: some of ``SIDES``.
        workdir: the folder of checkpoints and results.
        threads: that a side may compute with, for the records; 0: all cores.
        sizes: of networks and schedules.
    """

    images: str
    images_per_class: int
    seeds: Sequence[int]
    arms: Sequence[str]
    sides: Sequence[str]
    workdir: Path
    threads: int = 0
    sizes: Sizes = dataclasses.field(default_factory=Sizes)

    @property
    def dataset(self) -> ConfigDict:
        """The folder as a data set, of which both sides load the same arrays."""
        return dataset_config(self.images, str(self.workdir / "data"), self.sizes)

    def train(self, json_file: Path | None = None) -> None:
        """Does what is not finished: seed by seed, in each of them side by side, in each of these arm by arm."""
        for seed in self.seeds:
            for side in self.sides:
                unfinished = [arm for arm in self.arms if not self._file(side, seed, arm).exists()]
                if unfinished:
                    self._train_seed(side, seed, unfinished, json_file)

    def check(self) -> None:
        """Refuses a folder that holds the results of other images or sizes.

        Raises:
            InputError: it does.
        """
        file, mine = self.workdir / "comparison.json", self._identity()
        if not file.exists():
            return
        stored = json.loads(file.read_text())
        for key, value in files.plain(mine).items():
            if stored.get(key) != value:
                raise InputError(
                    f"{file}: {key} was {stored.get(key)!r}, now it is {value!r}; choose another --workdir"
                )

    def results(self) -> Results:
        """All that is finished."""
        places = [(side, seed, arm) for side in SIDES for seed in self.seeds for arm in self.arms]
        return {place: json.loads(self._file(*place).read_text()) for place in places if self._file(*place).exists()}

    def report(self) -> dict[str, Any]:
        """The results and what follows from them, in JSON's types."""
        results = self.results()
        return self._identity() | {
            "seeds": list(self.seeds),
            "arms": {arm: ARMS[arm] for arm in self.arms},
            "estimates": {
                name: None if value is None else dataclasses.asdict(value)
                for name, value in estimates(results, self.seeds, self.arms).items()
            },
            "results": list(results.values()),
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "images": os.path.abspath(self.images),
            "images_per_class": self.images_per_class,
            "sizes": dataclasses.asdict(self.sizes),
        }

    def _file(self, side: str, seed: int, arm: str) -> Path:
        return self._folder(side, seed) / f"{arm}.json"

    def _folder(self, side: str, seed: int) -> Path:
        return self.workdir / side / f"seed{seed}"

    def _train_seed(self, side: str, seed: int, arms: Sequence[str], json_file: Path | None) -> None:
        folder = self._folder(side, seed)
        folder.mkdir(parents=True, exist_ok=True)
        with lock.locked(folder):
            loaded = load_few_shot(self.dataset, self.images_per_class, seed)
            files.write_json(self.workdir / "comparison.json", self._identity())
            for arm in arms:
                if side == OURS:
                    config = config_of(self.dataset, self.images_per_class, seed, arm, self.sizes)
                    measured = _train_ours(config, folder / arm)
                else:
                    measured = _train_twin(loaded, seed, arm, self.sizes, folder, self._digest(loaded))
                about = {"side": side, "seed": seed, "arm": arm, "examples": len(loaded.held_out.labels)}
                machine = {"cores": os.cpu_count(), "processor": processor(), "threads": self.threads}
                finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                files.write_json(
                    self._file(side, seed, arm), about | measured | {"machine": machine, "finished": finished}
                )
                print(f"{side}, seed {seed}, {arm}: {100 * measured['top1']:.2f} %", flush=True)
                if json_file is not None:
                    files.write_json(json_file, self.report())

    def _digest(self, dataset: FewShotDataset) -> str:
        """Stands for the images, their classes, and all settings of the twin's trainings on them."""
        digest = hashlib.sha256(json.dumps([self.images_per_class, dataclasses.asdict(self.sizes)]).encode())
        digest.update(json.dumps(dataset.class_names).encode())
        for part in (dataset.train, dataset.held_out):
            digest.update(np.ascontiguousarray(part.images).tobytes() + part.labels.tobytes())
        return digest.hexdigest()


def _train_ours(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Completes one of our runs; a run of the same seed beside it lends its generator."""
    from chimeramix_jax import train_and_evaluate

    results = train_and_evaluate(config, workdir)
    return {
        "top1": results["test"]["top1"],
        "seconds": results["seconds"],
        "versions": results["versions"] | {"commit": results["git_commit"]},
    }


def _train_twin(
    dataset: FewShotDataset, seed: int, arm: str, sizes: Sizes, folder: Path, identity: str
) -> dict[str, Any]:
    """Completes one of the twin's trainings."""
    from benchmarks import accuracy_twin

    top1, seconds = accuracy_twin.Twin(dataset, seed, sizes, folder, identity).accuracy(arm)
    return {"top1": top1, "seconds": seconds, "versions": accuracy_twin.versions()}


def estimates(results: Results, seeds: Sequence[int], arms: Sequence[str]) -> dict[str, Estimate | None]:
    """Means over the finished seeds, in points: of arms, of what arms add to the baseline, and of ours - twin.

    Names are those of the table's columns; None where no seed has all that a mean needs.
    """
    columns: dict[str, dict[int, float | None]] = {}
    for arm in arms:
        mine, theirs = ({seed: _points(results, side, seed, arm) for seed in seeds} for side in SIDES)
        columns |= {f"{arm}, ours": mine, f"{arm}, twin": theirs, f"{arm}, ours - twin": _difference(mine, theirs)}
    for arm in arms:
        if arm != "baseline" and "baseline" in arms:
            gains = [_difference(columns[f"{arm}, {side}"], columns[f"baseline, {side}"]) for side in SIDES]
            for name, gain in zip((*SIDES, "ours - twin"), (*gains, _difference(*gains)), strict=True):
                columns[f"{arm} - baseline, {name}"] = gain
    known = {name: [value for value in column.values() if value is not None] for name, column in columns.items()}
    return {name: estimate(values) if values else None for name, values in known.items()}


def _points(results: Results, side: str, seed: int, arm: str) -> float | None:
    result = results.get((side, seed, arm))
    return None if result is None else 100 * result["top1"]


def _difference(one: Mapping[int, float | None], other: Mapping[int, float | None]) -> dict[int, float | None]:
    """Seed by seed; None where either is missing."""
    pairs = {seed: (one[seed], other[seed]) for seed in one}
    return {seed: None if a is None or b is None else a - b for seed, (a, b) in pairs.items()}


def tables(results: Results, seeds: Sequence[int], arms: Sequence[str]) -> str:
    """A table of every seed's accuracies, and one of the means with their intervals."""
    heading = ["top-1, %", *(f"{arm}, {side}" for arm in arms for side in SIDES)]
    rows = [heading]
    for seed in seeds:
        points = [_points(results, side, seed, arm) for arm in arms for side in SIDES]
        rows.append([f"seed {seed}", *("unfinished" if one is None else f"{one:.2f}" for one in points)])
    means = estimates(results, seeds, arms)
    kinds = [name.removesuffix(", ours") for name in means if name.endswith(", ours")]
    closing = [["mean, 95% interval", *SIDES, "ours - twin"]]
    for kind in kinds:
        shown = (_shown(means[f"{kind}, {side}"], len(seeds)) for side in (*SIDES, "ours - twin"))
        closing.append([kind, *shown])
    return f"{aligned(rows)}\n\n{aligned(closing)}"


def _shown(mean: Estimate | None, seeds: int) -> str:
    """A mean with its interval, and of how many seeds it is where that is not all."""
    if mean is None:
        return "unfinished"
    reach = "" if mean.interval is None else f" ±{mean.interval[1] - mean.mean:.2f}"
    return f"{mean.mean:.2f}{reach}" + ("" if mean.count == seeds else f" ({mean.count} of {seeds} seeds)")


def circumstances(results: Results) -> str:
    """For each side a line: where, when and with what versions it was trained, and how long a seed took."""
    lines = []
    for side in SIDES:
        finished = [result for (of, _, _), result in results.items() if of == side]
        if not finished:
            lines.append(f"{side}: nothing is finished")
            continue
        machines = {
            f"{one['machine']['threads'] or 'all'} of {one['machine']['cores']} cores of {one['machine']['processor']}"
            for one in finished
        }
        versions = {
            ", ".join(f"{name} {version}" for name, version in one["versions"].items() if version) for one in finished
        }
        days = sorted({one["finished"][:10] for one in finished})
        generators = [one["seconds"]["generator"] for one in finished if "generator" in one["seconds"]]
        times = [("generator", generators), ("classifier", [one["seconds"]["classifier"] for one in finished])]
        took = ", ".join(f"a {name} {np.median(seconds):.0f} s" for name, seconds in times if seconds)
        period = " to ".join(days[:1] + days[1:][-1:])
        lines.append(f"{side}: {took} (medians); {' and '.join(sorted(machines))}; {period}")
        lines += [f"  {one}" for one in sorted(versions)]
    return "\n".join(lines)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder that holds train/<class>/* and test/<class>/*")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--seeds", default="0:5", help="such as 0,1,4, or 0:5 for 0 to 4")
    parser.add_argument("--arms", default=",".join(ARMS), help="some of baseline, coin, every")
    parser.add_argument("--sides", default=",".join(SIDES), help="ours, twin or both: which are trained")
    parser.add_argument("--workdir", required=True, help="folder of checkpoints and results")
    parser.add_argument("--threads", type=int, default=0, help="cores that the process may use; 0: all it has")
    parser.add_argument("--json", help="file for all figures, rewritten whenever a training is finished")
    parser.add_argument("--report", action="store_true", help="train nothing: print what is finished")
    parsed = parser.parse_args(arguments)
    for name, allowed in (("arms", tuple(ARMS)), ("sides", SIDES)):
        chosen = getattr(parsed, name).split(",")
        if len(set(chosen)) < len(chosen) or not set(chosen) <= set(allowed):
            parser.error(f"--{name}: {getattr(parsed, name)!r} must name some of {', '.join(allowed)}, each once")
        setattr(parsed, name, chosen)
    try:
        parsed.seeds = parse_seeds(parsed.seeds)
    except InputError as error:
        parser.error(f"--{error}")
    if not parsed.seeds:
        parser.error("--seeds: names no seed")
    if parsed.threads < 0 or parsed.images_per_class < 1:
        parser.error("--threads must not be negative, --images_per_class at least 1")
    if parsed.json and not Path(parsed.json).absolute().parent.is_dir():
        parser.error(f"--json: {parsed.json} lies in no folder that exists")
    return parsed


def main() -> None:
    """Trains what is unfinished, and prints the tables."""
    arguments = parse_arguments()
    comparison = Comparison(
        arguments.images,
        arguments.images_per_class,
        arguments.seeds,
        arguments.arms,
        arguments.sides,
        Path(arguments.workdir),
        arguments.threads,
    )
    json_file = Path(arguments.json) if arguments.json else None
    try:
        comparison.check()
        if not arguments.report:
            prepare_machine(arguments.threads, arguments.sides)
            comparison.train(json_file)
    except InputError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    results = comparison.results()
    print(f"{arguments.images_per_class} images per class of {arguments.images}; {comparison.sizes}")
    print(circumstances(results))
    print(f"\n{tables(results, arguments.seeds, arguments.arms)}")
    if json_file is not None:
        files.write_json(json_file, comparison.report())


def prepare_machine(threads: int, sides: Sequence[str]) -> None:
    """Confines this process to some of its cores, before JAX and PyTorch count them.

    Raises:
        InputError: it has not that many, the system cannot do so, or PyTorch is missing where it is needed.
    """
    if threads:
        if not hasattr(os, "sched_setaffinity"):
            raise InputError(f"--threads={threads}: this system cannot confine a process to some cores; leave it out")
        cores = sorted(os.sched_getaffinity(0))
        if threads > len(cores):
            raise InputError(f"--threads={threads}: this process has {len(cores)} cores")
        os.sched_setaffinity(0, cores[:threads])
    if TWIN in sides:
        try:
            import torch
        except ImportError:
            raise InputError("--sides: the twin needs PyTorch (pip install torch); --sides=ours needs none") from None
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    host_memory.keep_freed_memory()  # both sides' steps gain by it
    if OURS in sides:
        from chimeramix_jax.runtime import cpu_setup

        cpu_setup.prepare()


if __name__ == "__main__":
    main()
