"""What the runs in a folder found: every classifier that was, or was to be, trained and measured."""

import enum
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax import paths
from chimeramix_jax.config import catalog
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import unmarked

METRICS = {
    # What to summarise, by its name in results.json.
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "macro_accuracy": "macro accuracy",
}

_ADDRESS_KEYS = ("dataset.name", "dataset.evaluate_on", "experiment", "max_labels_per_class", "seed")
_NEEDED_KEYS = (*_ADDRESS_KEYS, "compare_with_baseline", "augment.policy", "mixing.mask", "mixing.of", "precision")

_OF_MASKS = {
    # What only one kind of mask looks at.
    "grid": ("mix_size",),
    "segmentation": ("segmentation_scale", "segmentation_min_size", "segmentation_sigma"),
}


class Status(enum.StrEnum):
    """How far a trial is."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"  # has settings but no results: failed, stopped, or still running
    DAMAGED = "damaged"  # has results that cannot be read
    MISSING = "missing"  # was to be there and is not


@dataclass(frozen=True)
class Address:
    """Where a trial belongs among others.

    Attributes:
        dataset: name of the data set, with the folder's own for ``image_folder``.
        split: "test" or "validation": what it is measured on. The two are never mixed.
        experiment: name of the experiment.
        images_per_class: training images per class; None: all.
        seed: the run's.
    """

    dataset: str
    split: str
    experiment: str
    images_per_class: int | None
    seed: int


@dataclass(frozen=True)
class Trial:
    """One classifier.

    Attributes:
        address: where it belongs.
        status: how far it is.
        workdir: the run's directory; None where it is missing.
        within: whether it is the baseline that a run of another experiment compares with.
        accuracy: the measured share, in [0, 1]; NaN unless finished.
        settings: with dotted keys, those that the figures depend on and ``address`` does not hold.
        changed: those of them that are not as the experiment is shipped for the data set, each with the shipped value.
        images: a fingerprint of what it was trained and measured on.
        data: the digest of these images' content; empty for runs of earlier versions.
        mean_images: training images per class, counted.
        environment: the device and versions, in words.
        rollbacks: how often the training of its parts went back because numbers were not finite, if it did.
    """

    address: Address
    status: Status
    workdir: Path | None
    within: bool = False
    accuracy: float = math.nan
    settings: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    data: str = ""
    mean_images: float | None = None
    environment: str = ""
    rollbacks: Mapping[str, int] = field(default_factory=dict)


def dataset_label(name: str, directory: str) -> str:
    """What a data set is called: its name and, where images come from a folder, the folder's."""
    return f"{name} ({os.path.basename(os.path.abspath(os.path.expanduser(directory)))})" if directory else name


def find_runs(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Workdir]:
    """Yields the runs in a folder, at any depth and behind links, by their paths; ``on_error`` hears of closed ones."""
    for path, folders, names in paths.walk(folder, on_error):
        if "config.json" in names or "results.json" in names:
            folders.clear()  # a run's own folders hold many files and no run
            yield Workdir(path)
        folders.sort()


def read_run(workdir: Workdir, metric: str) -> tuple[list[Trial], list[str]]:
    """Reads a run's trials: its classifier and, if it compares with one, its baseline.

    Args:
        workdir: the run.
        metric: one of ``METRICS``.

    Returns:
        The trials, and a line for each file that cannot be read. A run whose results cannot be read has trials of
        status damaged, so long as its settings can.
    """
    problems = []
    status = Status.UNFINISHED
    if workdir.results.exists():
        try:
            return _finished(workdir, metric), []
        except InputError as error:
            problems.append(str(error))
            status = Status.DAMAGED
    try:
        config = _Settings(workdir.config, _read_object(workdir.config))
        return [Trial(address, status, workdir.path, **about) for address, about in config.trials(None)], problems
    except InputError as error:
        return [], [*problems, str(error)]


def _finished(workdir: Workdir, metric: str) -> list[Trial]:
    path, content = workdir.results, _read_object(workdir.results)
    config = _Settings(path, _member(path, content, "config", dict))
    indices, classes = (_member(path, content, key, list) for key in ("train_indices", "class_names"))
    if not classes:
        raise InputError(f"{path}: class_names: [] is not allowed; it must be a list of names")
    trials = []
    for address, about in config.trials(_member(path, content, "device", dict).get("backend")):
        figures = content.get("baseline") if about["within"] else content
        if figures is None:  # the run was stopped, or asked for the classifier only
            trials.append(Trial(address, Status.UNFINISHED, workdir.path, **about))
            continue
        where = f"baseline.{address.split}" if about["within"] else address.split
        about |= {
            "accuracy": _share(path, figures, address.split, metric, where),
            "images": hash((str(indices), str(classes), str(figures[address.split].get("examples")))),
            "data": str(content.get("data_sha256", "")),
            "mean_images": len(indices) / len(classes),
            "environment": _environment(content),
            "rollbacks": _rollbacks(content, ("baseline",) if about["within"] else ("generator", "classifier")),
        }
        trials.append(Trial(address, Status.FINISHED, workdir.path, **about))
    return trials


class _Settings:
    """Stored settings, as far as they are needed here."""

    def __init__(self, path: Path, config: Mapping[str, Any]):
        """Checks those that are needed; a wrong one raises InputError, naming the file."""
        self._config, self._flat = config, settings.flatten(config)
        for key in _NEEDED_KEYS:
            rule = settings.SETTINGS[key]
            if not rule.holds(self._flat.get(key)) or (key not in self._flat):
                value = repr(self._flat[key]) if key in self._flat else "missing"
                raise InputError(f"{path}: {key}: {value}; it must be {rule.allowed}")

    def trials(self, backend: str | None) -> Iterator[tuple[Address, dict[str, Any]]]:
        """Yields the address of every classifier of the run, and ``within``, ``settings`` and ``changed`` of its Trial.

        ``backend`` is what it ran on: "auto" precision is another on CPU than elsewhere.
        """
        mixes = self._flat["mixing.mask"] != "none"
        yield self._trial(self._flat["experiment"], mixes, backend, within=False)
        if mixes and self._flat["compare_with_baseline"]:
            policy = self._flat["augment.policy"]  # the baseline's images are augmented as the others are
            experiment = "baseline" if policy == "none" else f"baseline_{policy}"
            yield self._trial(experiment, False, backend, within=True)

    def _trial(
        self, experiment: str, mixes: bool, backend: str | None, *, within: bool
    ) -> tuple[Address, dict[str, Any]]:
        effective = _effective(self._config, mixes, backend)
        if self._flat.get("dataset.directory"):  # two folders of one name are two data sets
            effective["dataset.directory"] = os.path.realpath(os.path.expanduser(self._flat["dataset.directory"]))
        shipped = settings.shipped_settings(self._flat["dataset.name"], experiment).values()
        originals = [settings.config_to_dict(original) for original in shipped]
        if not within and not mixes and any(one["mixing"]["mask"] != "none" for one in originals):
            effective["mixing.mask"] = "none"  # of an experiment that is to mix
        every = []
        for original in originals:
            mixed = mixes or (not within and original["mixing"]["mask"] != "none")
            one = _effective(original, mixed, backend)
            every.append({key: one[key] for key in one if key in effective and one[key] != effective[key]})
        # Where several files are shipped for a data set, the run is taken for one of that which it is closest to.
        changed = min(every, key=len, default={})
        return self._address(experiment), {"within": within, "settings": effective, "changed": changed}

    def _address(self, experiment: str) -> Address:
        flat = self._flat
        return Address(
            dataset=dataset_label(flat["dataset.name"], flat.get("dataset.directory") or ""),
            split=flat["dataset.evaluate_on"],
            experiment=experiment,
            images_per_class=flat["max_labels_per_class"],
            seed=flat["seed"],
        )


def _effective(config: Mapping[str, Any], mixes: bool, backend: str | None) -> dict[str, Any]:
    """The settings that a classifier's figures depend on, with dotted keys, but for those that the address holds."""
    all_of_them = settings.flatten(config)
    generates = mixes and all_of_them["mixing.of"] == "features"
    unused = [] if mixes else ["mixing"]
    unused += [] if generates else ["generator"]
    unused += [
        f"mixing.{name}" for mask, names in _OF_MASKS.items() if all_of_them["mixing.mask"] != mask for name in names
    ]
    unused += [] if all_of_them.get("augment.cutout") else ["augment.cutout_side"]
    unused += [] if all_of_them["augment.policy"] == "autoaugment" else ["augment.autoaugment_policy"]
    if all_of_them["dataset.name"] not in catalog.names_taking("directory"):
        unused += ["dataset.image_side", "dataset.holdout_fraction", "dataset.holdout_seed"]
    flat = settings.leaving_out(config, (*settings.NO_EFFECT_ON_RESULTS, *_ADDRESS_KEYS, *unused))
    if flat["precision"] == "auto":
        if backend is None:  # nobody knows yet
            del flat["precision"]
        else:
            flat["precision"] = f"auto on {backend}"
    return {key: tuple(value) if isinstance(value, list) else value for key, value in flat.items()}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not text, or not JSON
        raise InputError(f"{path}: cannot be read: {error or 'nested too deeply'}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: cannot be read: a JSON object is wanted, not a {type(content).__name__}")
    return unmarked(content, path)


def _member(path: Path, content: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(content.get(key), kind):
        wanted = "a JSON object" if kind is dict else "a list"
        raise InputError(f"{path}: {key}: {'not ' + wanted if key in content else 'missing'}; it must be {wanted}")
    return content[key]


def _share(path: Path, figures: Any, split: str, metric: str, where: str) -> float:
    measured = figures.get(split) if isinstance(figures, Mapping) else None
    if not isinstance(measured, Mapping):
        raise InputError(f"{path}: {where}: missing; it must hold the figures of the {split} images")
    share = measured.get(metric)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        value = repr(share) if metric in measured else "missing"
        raise InputError(f"{path}: {where}.{metric}: {value}; it must be a number from 0 to 1")
    return float(share)


def _rollbacks(content: Mapping[str, Any], parts: Sequence[str]) -> dict[str, int]:
    """How often each of these parts went back; nothing in results of versions that could not."""
    recorded = content.get("rollbacks")
    return {part: len(recorded[part]) for part in parts if recorded.get(part)} if isinstance(recorded, Mapping) else {}


def _environment(content: Mapping[str, Any]) -> str:
    """The device and the versions that can change a figure, as far as they are recorded."""
    device, versions = content["device"], content.get("versions")
    parts = [str(device.get("kind")), *(["several devices"] if (device.get("count") or 1) != 1 else [])]
    if isinstance(versions, Mapping):
        parts += [f"{name} {versions[key]}" for key, name in _VERSIONS if versions.get(key)]
    return ", ".join(parts)


_VERSIONS = (("chimeramix_jax", "chimeramix_jax"), ("jax", "JAX"), ("python", "Python"))
