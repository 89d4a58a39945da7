"""Compares whole trainings with those of the PyTorch twin (``benchmarks/pytorch_twin.py``) on the same few images.

    python -m benchmarks.accuracy --images=path/to/images --workdir=runs/accuracy
    python -m benchmarks.accuracy --images=path/to/images --workdir=runs/accuracy --sides=twin --seeds=0:2
    python -m benchmarks.accuracy --images=path/to/images --workdir=runs/accuracy --report  # what is finished so far

Trains both stages completely on both sides for several seeds. Each seed draws its own few-shot subset of the folder by
the published rule. The sides share only the images: each has its own initial weights and random numbers. The sizes are
those of ``benchmarks/accuracy_settings.py``. The arms are

- *baseline*: the classifier is trained on the augmented images themselves;
- *coin*: one fair coin per batch decides whether the frozen generator mixes the whole batch, as published;
- *every*: every batch is mixed.

The arms of a seed share its generator. Accuracies are top-1 on all test images after the last epoch. Intervals are
Student's 95 % intervals of means over seeds; for differences, of the mean of the seeds' paired differences.

The same command resumes after an interruption, and prints only the table if everything is finished. ``--threads``
restricts the process to that many of its cores. To train both sides at the same time, start a process for each under
``taskset`` with separate cores. Only the twin needs PyTorch: ``pip install torch``.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from benchmarks import same_images
from benchmarks.accuracy_settings import ARMS, Sizes, config_of, dataset_config
from benchmarks.speed import processor
from chimeramix_jax import files
from chimeramix_jax.config import parse_seeds
from chimeramix_jax.data import FewShotDataset, load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.statistics import Estimate, estimate
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs import lock
from chimeramix_jax.runtime import host_memory

OURS, TWIN = "ours", "twin"
SIDES = (OURS, TWIN)

Results = Mapping[tuple[str, int, str], dict[str, Any]]  # of finished trainings, by side, seed and arm


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared, and where its files are.

    Attributes:
        images: a folder with ``train/<class>/*`` and, as a rule, ``test/<class>/*``.
        images_per_class: training images of each class.
        seeds: seeds of the few-shot subsets and of all random numbers.
        arms: some of ``ARMS``, in the order in which they are trained.
        sides: some of ``SIDES``.
        workdir: the folder of checkpoints and results.
        threads: how many threads a side computes with, for the records; 0: all cores.
        sizes: the sizes of networks and schedules.
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
        """The folder as a data set, from which both sides load the same arrays."""
        return dataset_config(self.images, str(self.workdir / "data"), self.sizes)

    def train(self, json_file: Path | None = None) -> None:
        """Trains everything that is not finished, in the order of seeds, then sides, then arms."""
        for seed in self.seeds:
            for side in self.sides:
                unfinished = [arm for arm in self.arms if not self._file(side, seed, arm).exists()]
                if unfinished:
                    self._train_seed(side, seed, unfinished, json_file)

    def check(self) -> None:
        """Checks that ``workdir`` has no results of other images or sizes.

        Raises:
            InputError: it has.
        """
        file, mine = self.workdir / "comparison.json", self._identity()
        if not file.exists():
            return
        stored = json.loads(file.read_text())
        for key, value in files.plain(mine).items():
            if key != "images" and stored.get(key) != value:
                raise InputError(
                    f"{file}: {key} was {stored.get(key)!r}, now it is {value!r}; choose another --workdir"
                )
        places = {self._file(side, seed, arm): seed for side in SIDES for seed in self.seeds for arm in self.arms}
        digests = partial(same_images.digests_of, self.dataset, self.images_per_class)
        same_images.check(places, self.images, stored.get("images"), digests)

    def results(self) -> Results:
        """Returns the results of all finished trainings."""
        places = [(side, seed, arm) for side in SIDES for seed in self.seeds for arm in self.arms]
        return {place: json.loads(self._file(*place).read_text()) for place in places if self._file(*place).exists()}

    def report(self) -> dict[str, Any]:
        """Returns the results and the estimates from them, in JSON's types."""
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
        return self.folder(side, seed) / f"{arm}.json"

    def folder(self, side: str, seed: int) -> Path:
        """Returns the folder of a side's trainings of a seed."""
        return self.workdir / side / f"seed{seed}"

    def _train_seed(self, side: str, seed: int, arms: Sequence[str], json_file: Path | None) -> None:
        folder = self.folder(side, seed)
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
                about: dict[str, Any] = {"side": side, "seed": seed, "arm": arm}
                about["examples"] = len(loaded.held_out.labels)
                about[same_images.KEY] = loaded.identity.digests()
                machine = {"cores": os.cpu_count(), "processor": processor(), "threads": self.threads}
                finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                files.write_json(
                    self._file(side, seed, arm), about | measured | {"machine": machine, "finished": finished}
                )
                print(f"{side}, seed {seed}, {arm}: {100 * measured['top1']:.2f} %", flush=True)
                if json_file is not None:
                    files.write_json(json_file, self.report())

    def _digest(self, dataset: FewShotDataset) -> str:
        """Returns a digest of the images, their classes, and all settings of the twin's trainings on them."""
        digest = hashlib.sha256(json.dumps([self.images_per_class, dataclasses.asdict(self.sizes)]).encode())
        digest.update(json.dumps(dataset.class_names).encode())
        for part in (dataset.train, dataset.held_out):
            digest.update(np.ascontiguousarray(part.images).tobytes() + part.labels.tobytes())
        return digest.hexdigest()


def _train_ours(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains one of our runs to its end; it uses the generator of a finished run of the same seed beside it."""
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
    """Trains one of the twin's classifiers to its end."""
    from benchmarks import accuracy_twin

    top1, seconds = accuracy_twin.Twin(dataset, seed, sizes, folder, identity).accuracy(arm)
    return {"top1": top1, "seconds": seconds, "versions": accuracy_twin.versions()}


def estimates(results: Results, seeds: Sequence[int], arms: Sequence[str]) -> dict[str, Estimate | None]:
    """Returns means over the finished seeds, in points: of each arm, of its gain over the baseline, and of ours - twin.

    The keys are the names of the table's columns; a value is None if no seed has all results that the mean needs.
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
    """Returns the difference for each seed; None if either value is missing."""
    pairs = {seed: (one[seed], other[seed]) for seed in one}
    return {seed: None if a is None or b is None else a - b for seed, (a, b) in pairs.items()}


def tables(results: Results, seeds: Sequence[int], arms: Sequence[str]) -> str:
    """Returns a table of every seed's accuracies and a table of the means with their intervals."""
    heading = ["top-1, %", *(f"{arm}, {side}" for arm in arms for side in SIDES)]
    rows = [heading]
    for seed in seeds:
        points = [_points(results, side, seed, arm) for arm in arms for side in SIDES]
        rows.append([f"seed {seed}", *("unfinished" if value is None else f"{value:.2f}" for value in points)])
    means = estimates(results, seeds, arms)
    kinds = [name.removesuffix(", ours") for name in means if name.endswith(", ours")]
    closing = [["mean, 95 % interval", *SIDES, "ours - twin"]]
    for kind in kinds:
        of_sides = (shown(means[f"{kind}, {side}"], len(seeds)) for side in (*SIDES, "ours - twin"))
        closing.append([kind, *of_sides])
    return f"{aligned(rows)}\n\n{aligned(closing)}"


def shown(mean: Estimate | None, seeds: int, sign: str = "") -> str:
    """Returns a mean with its interval and, if it is not over all seeds, the number of its seeds.

    ``sign`` "+" also marks positive means.
    """
    if mean is None:
        return "unfinished"
    reach = "" if mean.interval is None else f" ±{mean.interval[1] - mean.mean:.2f}"
    return f"{mean.mean:{sign}.2f}{reach}" + ("" if mean.count == seeds else f" ({mean.count} of {seeds} seeds)")


def circumstances(results: Results) -> str:
    """Returns, for each side, where, when and with which versions it was trained, and how long a seed took."""
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
        parser.error(f"--json: {parsed.json} its folder does not exist")
    return parsed


def main() -> None:
    """Trains everything that is not finished, and prints the tables."""
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
    """Restricts this process to some of its cores, before JAX and PyTorch count them.

    Raises:
        InputError: the process has fewer cores, the system cannot restrict it, or PyTorch is missing for the twin.
    """
    if threads:
        if not hasattr(os, "sched_setaffinity"):
            raise InputError(f"--threads={threads}: this system cannot restrict a process to some cores; omit it")
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
    host_memory.keep_freed_memory()  # makes the steps of both sides faster
    if OURS in sides:
        from chimeramix_jax.runtime import cpu_setup

        cpu_setup.prepare()


if __name__ == "__main__":
    main()
