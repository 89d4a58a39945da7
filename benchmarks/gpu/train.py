"""Runs whole published trainings on a folder of CIFAR-10's images: the items of the part "train"."""

import json
import math
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.gpu import archive, program
from benchmarks.gpu.items import Context, row
from chimeramix_jax.reporting.statistics import Estimate, estimate

# Published top-1 of ChimeraMix on ciFAIR-10 in %, by images per class; the kind of mask is not stated.
PUBLISHED: Mapping[int, float] = {50: 67.30, 10: 47.60}
PROTOCOL = "JPEG, drawn from 500 per class, CIFAR-10's own test images; published: ciFAIR-10, from 5,000 per class"
EXPERIMENTS = ("chimeramix_grid", "baseline")  # both of them for some seeds before the next seeds
SEEDS = range(5)
TOGETHER = 2  # seeds in a call if their speed is not known
SECONDS_TO_START = 75.0  # imports, data and compilation of a run
SECONDS_TO_STOP = 30.0  # the last call, the checkpoints of all seeds, and packing
EPOCHS, CLASSES, REPEATS = 200, 10, 500  # as published
BATCHES = {"generator": 64, "classifier": 10}
SECONDS_BETWEEN_LOOKS = 1.0


def train(context: Context) -> dict[str, Any]:
    """Trains as many seeds as the time allows, and as many of them together as fit into it."""
    plan = Plan(context)
    if context.resume is not None and (context.resume / archive_name()).exists():
        archive.unpack(context.resume / archive_name(), plan.runs.parent)
    while (team := plan.next_team()) and plan.seconds_left > 0:
        started = time.time()
        if not plan.train(team):
            break
        plan.took(len(team), time.time() - started)
    return plan.outcome()


def archive_name() -> str:
    """Returns the name of the file in the output that a later command resumes from."""
    return "train.tar.gz"


class Plan:
    """The runs at one number of images per class."""

    def __init__(self, context: Context):
        """Finds the images and the measured speed."""
        self._context = context
        self._published_count = context.arguments["images_per_class"]
        self._count = {50: 3, 10: 2}[self._published_count] if context.tiny else self._published_count
        self._seeds: Sequence[int] = range(2) if context.tiny else SEEDS
        self._images = _folder(context)
        self._measured = None if context.tiny else _measured_steps(context)
        self._per_seed: float | None = None  # seconds of a seed's runs, as last measured
        self._errors: list[str] = []
        self.runs = context.work.parent / "runs" / str(self._count)

    @property
    def seconds_left(self) -> float:
        """The seconds that training may still take."""
        return self._context.seconds_left - (10.0 if self._context.tiny else SECONDS_TO_STOP)

    def next_team(self) -> list[int]:
        """Returns the next seeds to train together; none if all are finished."""
        pending = [seed for seed in self._seeds if any(not self._finished(one, seed) for one in EXPERIMENTS)]
        begun = [seed for seed in pending if any(self._workdir(one, seed).exists() for one in EXPERIMENTS)]
        return (begun or pending)[: max(self._fitting(len(pending)), 1)]

    def _fitting(self, most: int) -> int:
        """Returns how many seeds can be trained together, with both experiments, in the remaining time."""
        if self._per_seed is not None:
            return int(self.seconds_left / self._per_seed)
        if self._measured is None:
            return TOGETHER
        return max((n for n in range(1, most + 1) if self._seconds(n) <= self.seconds_left), default=1)

    def _seconds(self, seeds: int) -> float:
        """Estimates the seconds of both experiments for some seeds from the measured steps of one and five seeds."""
        assert self._measured is not None
        shown = CLASSES * self._count * max(REPEATS // self._count, 1)
        steps = {stage: EPOCHS * math.ceil(shown / size) for stage, size in BATCHES.items()}
        seconds = 2 * SECONDS_TO_START
        for stage in ("generator", "classifier", "classifier"):
            counts, times = zip(*sorted(self._measured[stage].items()), strict=True)
            seconds += steps[stage] * float(np.interp(seeds, counts, times)) / 1e3
        return seconds

    def took(self, seeds: int, seconds: float) -> None:
        """Records how long the runs of some seeds took together."""
        self._per_seed = seconds / seeds

    def train(self, team: Sequence[int]) -> bool:
        """Trains some seeds; returns whether all were finished."""
        for experiment in EXPERIMENTS:
            unfinished = [seed for seed in team if not self._finished(experiment, seed)]
            if unfinished and not self._run(experiment, unfinished):
                return False
        return True

    def _run(self, experiment: str, seeds: Sequence[int]) -> bool:
        """Runs the program once for some seeds; stops it, with checkpoints, when the time is over."""
        workdir = self.runs / experiment / "seed-{seed}"
        run = program.Program(workdir, f"cifair10:{experiment}", self._changes(seeds))
        while run.running() and self.seconds_left > 0:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self._context.report(self._rows())
        in_time = not run.running()
        code = run.stop()
        if code not in (0, program.STOPPED):
            self._errors.append(f"{experiment}, exit code {code}: {run.last_words()}")
        self._context.report(self.outcome())
        return in_time and code == 0

    def _changes(self, seeds: Sequence[int]) -> dict[str, Any]:
        changes = {
            "dataset.name": "image_folder",
            "dataset.directory": self._images,
            "dataset.image_side": 32,
            "dataset.data_dir": self._context.work.parent / "data",
            "seeds": ",".join(map(str, seeds)),
            "evaluation.every_epochs": 50,
        }
        tiny = dict(program.TINY) if self._context.tiny else {}
        return tiny | changes | {"max_labels_per_class": self._count}

    def outcome(self) -> dict[str, Any]:
        """Packs what a later command needs; returns the lines of the table."""
        left_out = archive.pack(self.runs.parent, self._context.output / archive_name())
        return self._rows([str(run.relative_to(self.runs.parent)) for run in left_out])

    def _rows(self, left_out: Sequence[str] = ()) -> dict[str, Any]:
        results = {one: self._results(one) for one in EXPERIMENTS}
        published = f"published: {PUBLISHED[self._published_count]:.2f} (see protocol)"
        rows = [row("protocol", PROTOCOL)]
        for experiment, of_seeds in results.items():
            wanted = published if experiment != "baseline" else ""
            rows.append(row(f"{experiment}, top-1 in %", _shown([*of_seeds.values()]), wanted))
        both = [seed for seed in self._seeds if all(seed in of_seeds for of_seeds in results.values())]
        gains = [results["chimeramix_grid"][seed] - results["baseline"][seed] for seed in both]
        rows.append(row("gain by mixing, points, same seeds", _shown(gains)))
        rows += [row(what, state) for what, state in self._unfinished()]
        if left_out:
            rows.append(row("too large to bring back", f"{', '.join(left_out)}: resume at once, on the same machine"))
        rows += [row("failed", error, good=False) for error in self._errors]
        return {"rows": rows, "data": {"top1": results, "errors": self._errors}}

    def _unfinished(self) -> Iterator[tuple[str, str]]:
        for experiment in EXPERIMENTS:
            for seed in self._seeds:
                workdir = self._workdir(experiment, seed)
                if workdir.exists() and not self._finished(experiment, seed):
                    done = [f"{stage} {program.epochs_done(workdir, stage)}" for stage in ("generator", "classifier")]
                    yield f"{experiment}, seed {seed}, unfinished", f"epochs: {', '.join(done)}"

    def _results(self, experiment: str) -> dict[int, float]:
        finished = [seed for seed in self._seeds if self._finished(experiment, seed)]
        return {seed: 100 * program.results(self._workdir(experiment, seed))["test"]["top1"] for seed in finished}

    def _finished(self, experiment: str, seed: int) -> bool:
        return (self._workdir(experiment, seed) / "results.json").exists()

    def _workdir(self, experiment: str, seed: int) -> Path:
        return self.runs / experiment / f"seed-{seed}"


def _shown(values: Sequence[float]) -> str:
    """Returns a mean over seeds with its interval, and every seed's figure."""
    if not values:
        return "no seed is finished"
    mean: Estimate = estimate(list(values))
    reach = "" if mean.interval is None else f" ±{mean.interval[1] - mean.mean:.2f}"
    return f"{mean.mean:.2f}{reach} ({', '.join(f'{value:.2f}' for value in values)})"


def _folder(context: Context) -> Path:
    """Returns the folder of images: the given one, the content of the given archive or, in a rehearsal, noise."""
    if context.images is None:
        return _noise(context.work.parent / "images")
    if context.images.suffix != ".zip":
        return context.images
    folder = context.work.parent / "images"
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        with zipfile.ZipFile(context.images) as zipped:
            zipped.extractall(unfinished)
        unfinished.rename(folder)
    (train,) = (path for path in folder.rglob("train") if path.is_dir())
    return train.parent


def _noise(folder: Path) -> Path:
    """Makes two classes of noise around a grey level each: 4 images to train with and 2 to test on."""
    random = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name, grey in (("dark", 60), ("light", 180)):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = grey + random.integers(-40, 41, (32, 32, 3))
                file = folder / part / name / f"{number}.png"
                if not file.exists():
                    Image.fromarray(pixels.astype(np.uint8)).save(file)
    return folder


def _measured_steps(context: Context) -> dict[str, dict[int, float]] | None:
    """Returns the milliseconds of a stage's step by number of seeds, as "speed" measured them; None without figures.

    Looks for them in the output, in the output of an earlier command, and in the folder of temporary files.
    """
    for folder in filter(None, (context.output, context.resume, context.work.parent.parent)):
        file = folder / "speed.json"
        if not file.exists():
            continue
        records = {record["name"]: record for record in json.loads(file.read_text())["items"]}
        found = {stage: records.get(f"seeds {stage}", {}).get("data", {}) for stage in BATCHES}
        if all("5" in times for times in found.values()):
            return {stage: {int(n): one["ms_per_step"] for n, one in times.items()} for stage, times in found.items()}
    return None
