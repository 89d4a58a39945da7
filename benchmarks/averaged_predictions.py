"""Measures what averaging over mirror images, shifted crops and an ensemble adds on folders of images.

    python -m benchmarks.averaged_predictions --images=path/to/images --images=path/to/others --workdir=runs/averaged
    python -m benchmarks.averaged_predictions ... --report  # what is finished so far

For every folder and seed, an ensemble is trained as ``configs/image_folder.py`` says, on a few images of every class of
``train/``, but for fewer epochs. ``--config.classifier.model=wrn-10-2-early`` and the like change its settings. Each
seed draws its own few-shot subset, which all its members see. All that is compared comes from these networks: each row
is measured on the same validation images, which are the images of ``train/`` that were not drawn, or as many of them as
``--most`` says. Figures of a single network are means over the members. Differences are to a single network that sees
only the image itself, paired by seed, with Student's 95 % interval. No test image is read. The same command resumes.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

from benchmarks import overrides, same_images
from benchmarks.accuracy import OURS, prepare_machine, shown
from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.statistics import estimate
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs import lock
from chimeramix_jax.runtime import compilation_cache

if TYPE_CHECKING:
    from flax import nnx

    from chimeramix_jax.models.classifier import Classifier

CONFIG_FILE = "configs/image_folder.py"
# Views that are averaged, by their places among those of ``EvaluationViews`` with crops and mirror images.
VIEWS: Mapping[str, Sequence[int]] = {
    "image": (0,),
    "mirror": (0, 1),
    "crops": (0, 2, 4, 6, 8),
    "crops, mirror": tuple(range(10)),
}
FIRST = "image"
_OWN = (
    "classifier.epochs",
    "classifier.members",
    "dataset.data_dir",
    "dataset.directory",
    "dataset.evaluate_on",
    "evaluation.crops",
    "evaluation.every_epochs",
    "evaluation.mirror",
    "max_labels_per_class",
    "seed",
)


@dataclasses.dataclass(frozen=True)
class Study:
    """Ensembles on folders of images."""

    images: Sequence[str]  # folders with ``train/<class>/*``
    images_per_class: int
    epochs: int
    members: int
    seeds: Sequence[int]
    most: int  # validation images
    workdir: Path
    changes: Sequence[str] = ()  # of the settings, such as ``--config.classifier.model=wrn-10-2-early``

    def config_of(self, images: str, seed: int) -> ConfigDict:
        """Returns the settings of a run; raises InputError if one is wrong."""
        overrides.refuse(overrides.keys_of(self.changes), _OWN, "--config")
        config = settings.load(CONFIG_FILE)
        config.dataset.directory, config.dataset.data_dir = images, str(self.workdir / "data")
        config.dataset.evaluate_on, config.max_labels_per_class = "validation", self.images_per_class
        config.seed, config.classifier.epochs, config.classifier.members = seed, self.epochs, self.members
        config.evaluation.crops, config.evaluation.every_epochs = 5, self.epochs
        settings.override(config, list(self.changes))
        settings.check(config)
        return config

    def result_file(self, images: str, seed: int) -> Path:
        """Returns where the accuracies of a folder and seed are stored."""
        return self.workdir / Path(images).name / f"seed{seed}.json"

    def results(self, images: str) -> list[dict[str, Any]]:
        """Returns what is finished on a folder, in the order of the seeds."""
        places = (self.result_file(images, seed) for seed in self.seeds)
        return [json.loads(place.read_text()) for place in places if place.exists()]

    def check(self) -> None:
        """Raises InputError if ``workdir`` has results of another study, or results would be mixed up."""
        names = [Path(images).name for images in self.images]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"--images: several folders are called {name!r}, so their results would be the same")
        stored, mine = self._stored(), self._identity()
        for key, value in stored.items():
            here = mine.get(key)
            if key != "folders" and here is not None and here != value:
                raise InputError(f"{self._file}: {key} was {value!r}, now it is {here!r}; choose another --workdir")
        for images in self.images:
            places = {self.result_file(images, seed): seed for seed in self.seeds}
            named_then = stored.get("folders", {}).get(Path(images).name)
            same_images.check(places, images, named_then, partial(self._digests, images))

    def _digests(self, images: str, seed: int) -> dict[str, str]:
        return same_images.digests_of(self.config_of(images, seed).dataset, self.images_per_class, seed)

    def _stored(self) -> dict[str, Any]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def _identity(self) -> dict[str, Any]:
        return {
            "images_per_class": self.images_per_class,
            "epochs": self.epochs,
            "members": self.members,
            "most": self.most,
            "changes": sorted(self.changes),
            "folders": {Path(images).name: str(Path(images).absolute()) for images in self.images},
        }

    @property
    def _file(self) -> Path:
        return self.workdir / "study.json"

    def train(self) -> None:
        """Trains and measures everything that is not finished: all folders for each seed."""
        self.check()
        for images in self.images:
            self.config_of(images, self.seeds[0])
        self.workdir.mkdir(parents=True, exist_ok=True)
        with lock.locked(self.workdir):
            identity = self._identity()
            folders = self._stored().get("folders", {}) | identity["folders"]
            files.write_json(self._file, identity | {"folders": folders})
            for seed in self.seeds:
                for images in self.images:
                    place = self.result_file(images, seed)
                    if not place.exists():
                        config = self.config_of(images, seed)
                        files.write_json(place, _measured(config, place.with_suffix(""), self.most))
                        print(f"{place.parent.name}, seed {seed}: finished", flush=True)


def accuracies(
    log_probabilities: Float[np.ndarray, "members views examples classes"], labels: Int[np.ndarray, "examples"]
) -> dict[str, dict[str, Any]]:
    """Returns the accuracy of each member and of the ensemble for the views of every row, in [0, 1]."""
    shares, found = np.exp(log_probabilities.astype(np.float64)), {}
    for name, views in VIEWS.items():
        of_members = shares[:, list(views)].mean(axis=1)
        right = of_members.argmax(axis=2) == labels
        ensemble = of_members.mean(axis=0).argmax(axis=1) == labels
        found[name] = {"members": right.mean(axis=1).tolist(), "ensemble": float(ensemble.mean())}
    return found


def view_log_probabilities(
    config: ConfigDict,
    network: "nnx.GraphDef[Classifier]",
    states: Sequence[tuple[Any, Any]],
    pixels: UInt8[np.ndarray, "examples side side 3"],
) -> Float[np.ndarray, "members views examples classes"]:
    """Returns what every member says of every view of ``VIEWS``: its class probabilities' logarithms.

    Args:
        config: the run's settings, with five crops and mirror images.
        network: the members' structure.
        states: each member's parameters and batch statistics.
        pixels: images in 0..255 of the classifier's size.
    """
    import jax

    from chimeramix_jax.training.evaluation_views import EvaluationViews
    from chimeramix_jax.training.prediction import predict

    @jax.jit
    def of_views(parameters, statistics, images):
        views = (view.astype(images.dtype) for view in EvaluationViews.of(config)(images.astype(jax.numpy.float32)))
        return jax.numpy.stack([jax.nn.log_softmax(predict(network, parameters, statistics, view)) for view in views])

    size = 100
    padded = np.pad(pixels, ((0, -len(pixels) % size), (0, 0), (0, 0), (0, 0)))
    batches = [jax.numpy.asarray(padded[start : start + size]) for start in range(0, len(padded), size)]
    outputs = [np.concatenate([np.asarray(of_views(*member, batch)) for batch in batches], axis=1) for member in states]
    return np.stack(outputs)[:, :, : len(pixels)]


def _measured(config: ConfigDict, workdir: Path, most: int) -> dict[str, Any]:
    """Trains the members of a run, or continues them, and returns their accuracies on at most ``most`` images."""
    from chimeramix_jax.data.resizing import resize
    from chimeramix_jax.runs.preparation import prepared
    from chimeramix_jax.runs.request import Request
    from chimeramix_jax.runs.workdir import Workdir
    from chimeramix_jax.training import loop
    from chimeramix_jax.training.calls import drive
    from chimeramix_jax.training.classification_step import evaluated
    from chimeramix_jax.training.execution import OneDevice
    from chimeramix_jax.training.members import member_directories

    with prepared(Request(config, Workdir(workdir), details=False)) as run:
        run.workdir.claim(config)
        stage, execution = run.classifier_stage(mixes=False), OneDevice()
        places = member_directories(run.workdir.classifier, config.classifier.members)
        trained = [
            drive(
                loop.train(
                    stage,
                    place,
                    config,
                    run.about,
                    title="classifier",
                    execution=execution,
                    member=member,
                    members=len(places),
                )
            )
            for member, place in enumerate(places)
        ]
        held_out = run.dataset.held_out
        chosen = np.linspace(0, len(held_out.labels), min(most, len(held_out.labels)), endpoint=False, dtype=int)
        pixels = resize(held_out.images[chosen], config.classifier.image_side)
    states = [evaluated(member.state) for member in trained]
    outputs = view_log_probabilities(config, stage.classifier.network, states, pixels)
    return {
        "accuracies": accuracies(outputs, held_out.labels[chosen]),
        "examples": len(chosen),
        "seconds": [member.seconds for member in trained],
        "epochs": config.classifier.epochs,
        same_images.KEY: run.dataset.identity.digests(),
    }


def table(study: Study) -> str:
    """Returns a row for each way of averaging: accuracy and difference for every folder, and the mean difference."""
    rows = [["averaged over", *(f"{Path(images).name}" for images in study.images)]]
    for kind in ("members", "ensemble"):
        for views in VIEWS:
            who = "one network" if kind == "members" else f"{study.members} networks"
            rows.append([f"{who}, {views}", *(_cell(study, images, kind, views) for images in study.images)])
    return aligned(rows)


def _cell(study: Study, images: str, kind: str, views: str) -> str:
    """Returns the accuracy, and the difference to a single network that sees only the image, in percent."""
    results = [result["accuracies"] for result in study.results(images)]
    if not results:
        return "unfinished"
    firsts = [100 * float(np.mean(result[FIRST]["members"])) for result in results]
    values = [100 * float(np.mean(result[views][kind])) for result in results]
    mean = f"{np.mean(values):.1f}"
    if (kind, views) == ("members", FIRST):
        return mean
    differences = [value - first for value, first in zip(values, firsts, strict=True)]
    return f"{mean} ({shown(estimate(differences), len(study.seeds), '+')})"


def parse_arguments(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the command line's arguments, and the changes of settings in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", action="append", required=True, help="folder that holds train/<class>/*")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--epochs", type=int, default=16, help="of each member")
    parser.add_argument("--members", type=int, default=5, help="networks of each ensemble")
    parser.add_argument("--seeds", default="0:3", help="such as 0,1,4, or 0:5 for 0 to 4")
    parser.add_argument("--most", type=int, default=800, help="validation images of each folder")
    parser.add_argument("--workdir", required=True, help="folder of runs and results")
    parser.add_argument("--threads", type=int, default=1, help="cores that the process may use; 0: all it has")
    parser.add_argument("--report", action="store_true", help="train nothing: print what is finished")
    parsed, changes = parser.parse_known_args(arguments)
    unknown = [change for change in changes if not change.startswith("--config.")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return parsed, changes


def main() -> None:
    """Trains everything that is not finished, and prints the table."""
    arguments, changes = parse_arguments()
    study = Study(
        arguments.images,
        arguments.images_per_class,
        arguments.epochs,
        arguments.members,
        settings.parse_seeds(arguments.seeds),
        arguments.most,
        Path(arguments.workdir),
        changes,
    )
    try:
        study.check()  # for a report, too
        if not arguments.report:
            prepare_machine(arguments.threads, [OURS])
            compilation_cache.enable()  # all ensembles of a folder have the same programs
            study.train()
    except InputError as error:
        print(f"averaged_predictions: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{study.images_per_class} images per class, {study.epochs} epochs, validation images\n")
    print(table(study))


if __name__ == "__main__":
    main()
