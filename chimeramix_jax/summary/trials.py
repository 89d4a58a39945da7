"""Reads the runs in a folder: every classifier that was trained and evaluated, or should have been."""

import enum
import errno
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax import paths
from chimeramix_jax.config import catalog, defaults, retired
from chimeramix_jax.config.experiments import EXPERIMENTS, usual_of_classifiers, without_mixing
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.splits import FOLDS
from chimeramix_jax.runs.workdir import AUTO_RECORD, CONFIG, RESULTS, Workdir
from chimeramix_jax.stored_format import read

METRICS = {
    # The metrics that can be summarised, by their names in results.json.
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "macro_accuracy": "macro accuracy",
}

_NEEDED_OF_ADDRESS = ("dataset.name", "dataset.evaluate_on", "experiment", "max_labels_per_class", "seed")
_ADDRESS_KEYS = (*_NEEDED_OF_ADDRESS, "dataset.division")  # runs of earlier versions do not have the last one
_STAGES, _EMBEDDED_STAGES = ("generator", "pretraining", "classifier"), ("pretraining", "baseline")
_LATER_KEYS = ("dataset.directory", "dataset.division")  # which runs of earlier versions need not have
_NEEDED_KEYS = (*_NEEDED_OF_ADDRESS, "compare_with_baseline", "augment.policy", "mixing.mask", "mixing.of", "precision")


class Status(enum.StrEnum):
    """The status of a trial."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"  # has settings but no results: failed, stopped, or still running
    DAMAGED = "damaged"  # has results that cannot be read
    MISSING = "missing"  # was planned and does not exist


@dataclass(frozen=True)
class Address:
    """Identifies a trial among others."""

    dataset: str  # from ``dataset_label``
    split: str  # the evaluation split: "test", "validation" or "folds". They are never mixed
    experiment: str
    images_per_class: int | None  # training images per class; None: all
    seed: int


@dataclass(frozen=True)
class Trial:
    """One classifier and its result."""

    address: Address
    status: Status
    workdir: Path | None  # the run's directory; None if it is missing
    embedded: bool = False  # whether it is the baseline that a run of another experiment trained for comparison
    accuracy: float = math.nan  # the summarised metric, in [0, 1]; NaN unless finished
    # The settings, by dotted key, that affect the result and are not part of ``address``.
    settings: Mapping[str, Any] = field(default_factory=dict)
    # Those of them that differ from the shipped experiment, with their shipped values. On data sets without a shipped
    # config file, those in which experiments differ by design and own ideas, with the values of the experiment.
    changed: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None  # a fingerprint of the training and evaluation images
    data: str = ""  # the digest of the images' content; empty for runs of earlier versions
    mean_images: float | None = None  # the mean number of training images per class
    class_accuracies: Mapping[str, float] = field(default_factory=dict)  # top-1, in [0, 1], of classes with images
    environment: str = ""  # the device and the versions, as text
    # How often the training of each part was rolled back after non-finite numbers.
    rollbacks: Mapping[str, int] = field(default_factory=dict)
    # By how much the top-1 accuracy on folds was too high, as a recipe was chosen by it; ``accuracy`` is corrected.
    optimism: float = 0.0


def dataset_label(name: str, directory: str, division: int) -> str:
    """Returns the name of a data set, with that of its folder if any images may be called so, or with its division.

    A division of -1 is none.
    """
    folder = catalog.own_folder(name, directory)
    label = f"{name} ({paths.short_name(folder)})" if folder else name
    return label if division < 0 else f"{label}, division {division}"


def find_runs(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Workdir]:
    """Yields the runs in a folder, at any depth and through links, sorted by path."""
    for path, folders, names in paths.walk(folder, on_error):
        if {CONFIG, RESULTS, AUTO_RECORD} & set(names):
            folders.clear()  # a run's folder has many files but no further runs
            yield Workdir(path)
        folders.sort()


def read_run(workdir: Workdir, metric: str) -> tuple[list[Trial], list[str]]:
    """Reads the trials of a run: its classifier and its embedded baseline, if there is one.

    Also returns a line for each file that cannot be read. If these are only the results, the trials are "damaged".
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
        figures = content.get("baseline") if about["embedded"] else content
        if figures is None:  # the run was stopped, or trained only the classifier
            trials.append(Trial(address, Status.UNFINISHED, workdir.path, **about))
            continue
        if about["embedded"]:
            figures = _member(path, content, "baseline", dict)
        if address.split not in figures and FOLDS in figures:
            address = replace(address, split=FOLDS)
        where = f"baseline.{address.split}" if about["embedded"] else address.split
        about |= {
            "accuracy": _share(path, figures, address.split, metric, where),
            "images": hash((str(indices), str(classes), str(figures[address.split].get("examples")))),
            "data": str(content.get("data_sha256", "")),
            "mean_images": len(indices) / len(classes),
            "class_accuracies": _class_accuracies(figures[address.split].get("confusion"), classes),
            "environment": _environment(content),
            "optimism": float(figures[address.split].get("optimism") or 0.0),
            "rollbacks": _rollbacks(content, _EMBEDDED_STAGES if about["embedded"] else _STAGES),
        }
        trials.append(Trial(address, Status.FINISHED, workdir.path, **about))
    return trials


class _Settings:
    """The stored settings of a run that a summary needs."""

    def __init__(self, path: Path, config: Mapping[str, Any]):
        """Checks the required settings; raises InputError, which names the file, for an invalid one."""
        self._config, self._flat = config, settings.flatten(config)
        for key in (*_NEEDED_KEYS, *(key for key in _LATER_KEYS if key in self._flat)):
            rule = settings.SETTINGS[key]
            if not rule.holds(self._flat.get(key)) or (key not in self._flat):
                value = repr(self._flat[key]) if key in self._flat else "missing"
                raise InputError(f"{path}: {key}: {value}; it must be {rule.allowed}")

    def trials(self, backend: str | None) -> Iterator[tuple[Address, dict[str, Any]]]:
        """Yields each classifier's address, with ``embedded``, ``settings`` and ``changed`` of its Trial.

        ``backend`` is the one that the run used, if known: "auto" precision differs between CPU and others.
        """
        mixes = self._flat["mixing.mask"] != "none"
        yield self._trial(self._flat["experiment"], mixes, backend, embedded=False)
        if mixes and self._flat["compare_with_baseline"]:
            yield self._trial(without_mixing(self._flat), False, backend, embedded=True)

    def _trial(
        self, experiment: str, mixes: bool, backend: str | None, *, embedded: bool
    ) -> tuple[Address, dict[str, Any]]:
        effective = _effective(self._config, mixes, backend)
        if folder := catalog.own_folder(self._flat["dataset.name"], self._flat.get("dataset.directory")):
            effective["dataset.directory"] = paths.without_links(folder)  # others may have a folder of that name
        shipped = settings.shipped_settings(self._flat["dataset.name"], experiment).values()
        originals = [settings.config_to_dict(original) for original in shipped]
        if not embedded and not mixes and any(original["mixing"]["mask"] != "none" for original in originals):
            effective["mixing.mask"] = "none"  # mixing was switched off
        changes = []
        for original in originals:
            mixed = mixes or (not embedded and original["mixing"]["mask"] != "none")
            expected = _effective(original, mixed, backend)
            changes.append({key: value for key, value in expected.items() if effective.get(key, value) != value})
        # If several config files are shipped for a data set, the run is compared with the most similar one.
        changed = min(changes, key=len, default=_unlike_the_experiment(experiment, effective))
        return self._address(experiment), {"embedded": embedded, "settings": effective, "changed": changed}

    def _address(self, experiment: str) -> Address:
        flat = self._flat
        return Address(
            dataset=dataset_label(
                flat["dataset.name"], flat.get("dataset.directory") or "", flat.get("dataset.division", -1)
            ),
            split=flat["dataset.evaluate_on"],
            experiment=experiment,
            images_per_class=flat["max_labels_per_class"],
            seed=flat["seed"],
        )


def _unlike_the_experiment(experiment: str, effective: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what one of the program's experiments has, by dotted key, where these settings of a classifier differ.

    Only settings in which experiments differ by design are considered, and own ideas: other settings are those of the
    user's config file.
    """
    if experiment not in EXPERIMENTS:
        return {}
    expected = {**usual_of_classifiers(), **EXPERIMENTS[experiment], "augment.own": ""}
    if effective.get("classifier.model_code"):
        expected["classifier.model"] = defaults.get_config().classifier.model
    return {key: value for key, value in expected.items() if effective.get(key, value) != value}


def _effective(config: Mapping[str, Any], mixes: bool, backend: str | None) -> dict[str, Any]:
    """Returns the settings, by dotted key, that affect a classifier's result and are not part of its address."""
    # Settings that did not exist yet had the values that are the defaults today.
    flat_config = settings.flatten(defaults.get_config()) | retired.translated(settings.flatten(config))
    generates = mixes and flat_config["mixing.of"] == "features"
    unused = [] if mixes else ["mixing"]
    unused += [] if generates else ["generator"]
    unused += [] if flat_config["pretraining.method"] != "none" else ["pretraining"]
    unused += [key for mask, keys in settings.OF_MASKS.items() if flat_config["mixing.mask"] != mask for key in keys]
    unused += [] if flat_config.get("augment.cutout") else ["augment.cutout_side"]
    blends = flat_config["augment.mixup"] or flat_config["augment.cutmix_probability"]
    unused += [] if blends and mixes else ["augment.mixup_of"]
    policy = flat_config["augment.policy"]
    unused += [] if policy == "autoaugment" else ["augment.autoaugment_policy"]
    unused += [] if policy == "randaugment" else ["augment.randaugment_operations", "augment.randaugment_magnitude"]
    if not catalog.has_any_side(flat_config["dataset.name"]):
        unused += ["dataset.image_side", "dataset.holdout_fraction", "dataset.holdout_seed"]
    flat = settings.leaving_out(flat_config, (*settings.NO_EFFECT_ON_RESULTS, *_ADDRESS_KEYS, *unused))
    if flat["precision"] == "auto":
        if backend is None:  # not known before the run
            del flat["precision"]
        else:
            flat["precision"] = f"auto on {backend}"
    return {key: tuple(value) if isinstance(value, list) else value for key, value in flat.items()}


def _read_object(path: Path) -> dict[str, Any]:
    content = read(path)
    if content is None:
        raise InputError(f"{path}: cannot be read: {os.strerror(errno.ENOENT)}")
    return content


def _member(path: Path, content: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(content.get(key), kind):
        allowed = "a JSON object" if kind is dict else "a list"
        raise InputError(f"{path}: {key}: {'not ' + allowed if key in content else 'missing'}; it must be {allowed}")
    return content[key]


def _share(path: Path, figures: Any, split: str, metric: str, where: str) -> float:
    measured = figures.get(split) if isinstance(figures, Mapping) else None
    if not isinstance(measured, Mapping):
        raise InputError(f"{path}: {where}: missing; it must hold the evaluation on {split} images")
    if metric == "top1" and "expected_accuracy" in measured:
        metric = "expected_accuracy"
    share = measured.get(metric)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        value = repr(share) if metric in measured else "missing"
        raise InputError(f"{path}: {where}.{metric}: {value}; it must be a number from 0 to 1")
    return float(share)


def _class_accuracies(confusion: Any, classes: Sequence[str]) -> dict[str, float]:
    """Returns the accuracy of each class with images; empty if the results hold no confusion matrix of these classes.

    The rows of the matrix are true classes, and its columns predicted ones.
    """
    if not isinstance(confusion, list) or len(confusion) != len(classes):
        return {}
    for row in confusion:
        if not isinstance(row, list) or len(row) != len(classes) or not all(isinstance(count, int) for count in row):
            return {}
    totals = map(sum, confusion)
    return {
        str(name): confusion[label][label] / total
        for label, (name, total) in enumerate(zip(classes, totals, strict=True))
        if total
    }


def _rollbacks(content: Mapping[str, Any], parts: Sequence[str]) -> dict[str, int]:
    """Returns how often each of these parts was rolled back; empty for results of versions without rollbacks."""
    recorded = content.get("rollbacks")
    lists = recorded if isinstance(recorded, Mapping) else {}
    return {part: len(lists[part]) for part in parts if isinstance(lists.get(part), list) and lists[part]}


def _environment(content: Mapping[str, Any]) -> str:
    """Returns the device and the versions that can affect results, as far as they are recorded."""
    device, versions = content["device"], content.get("versions")
    parts = [str(device.get("kind")), *(["several devices"] if (device.get("count") or 1) != 1 else [])]
    if isinstance(versions, Mapping):
        parts += [f"{name} {versions[key]}" for key, name in _VERSIONS if versions.get(key)]
    return ", ".join(parts)


_VERSIONS = (("chimeramix_jax", "chimeramix_jax"), ("jax", "JAX"), ("python", "Python"))
