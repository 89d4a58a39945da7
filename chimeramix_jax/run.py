"""A whole run: from settings to trained networks, their test figures, and the files that hold both."""

import contextlib
import dataclasses
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax import config as settings
from chimeramix_jax import determinism, same_data, shared_generator, stopping, workdir_lock
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.data.sampling import EpochPlan, ResidentData, repeats_per_epoch, to_device
from chimeramix_jax.data.segments import FelzenszwalbSettings, label_maps
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.evaluation import Evaluation, TestSet, evaluate_logits, predicted_classes
from chimeramix_jax.mixing_picture import MASKS, PAIRS, MixingPictures
from chimeramix_jax.paths import leaving_no_empty_folders
from chimeramix_jax.reporting import files, pictures, report, results, statistics
from chimeramix_jax.restore import restore_discriminator, restore_generator
from chimeramix_jax.stored_format import marked
from chimeramix_jax.training import loop
from chimeramix_jax.training.checkpoints import State
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.execution import Execution, available_devices
from chimeramix_jax.training.generator import GeneratorStage
from chimeramix_jax.workdir import Workdir


def train_and_evaluate(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    *,
    stage: str = "all",
    retrain: bool = False,
    generator_workdir: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Does what is left of a run, and returns its results.

    Args:
        config: the settings, as in ``configs/``.
        workdir: the run's directory. What is finished there is not done again; what was interrupted goes on.
        stage: "generator" and "classifier" train one stage, "evaluate" measures trained classifiers, "report" draws the
            page of a finished run again, "all" does all.
        retrain: trains the stage again although it is finished, and what was trained with it; the old files are moved
            aside.
        generator_workdir: the directory of another run, whose generator is to be used instead of training one; None:
            that of a run in the same folder, if one has a finished generator of the same settings.

    Returns:
        What ``results.json`` holds (nothing for stages "generator" and "report"), ``summary`` (rows for
        ``reporting.results.summary_table``) and ``files`` (what was written).

    Raises:
        InputError: a setting, the data or the directory does not fit, or another run is at work there; nothing was
            changed.
        NonFiniteError: a loss or a gradient was not finite.
        StorageError: there is no room for a file; what was complete before is so still.
        Stopped: ``stopping`` was asked to stop the run; a checkpoint has been written.
    """
    if config.get("seeds"):
        raise InputError(f"seeds: {config.seeds!r}, but this is for one run; train_and_evaluate_seeds takes several")
    return prepare(config, workdir, stage=stage, retrain=retrain, generator_workdir=generator_workdir).complete()


def prepare(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    *,
    stage: str = "all",
    retrain: bool = False,
    generator_workdir: str | os.PathLike[str] | None = None,
) -> "Run":
    """Does the part of ``train_and_evaluate`` that can be refused: checks all there is to check, and loads the data.

    The directory is this process's alone from then on, until the run is complete.
    """
    settings.check(config, stored=stage in settings.MEASURING_STAGES)
    available_devices(config.devices)
    if stage not in settings.STAGES:
        raise not_one_of("--stage", stage, settings.STAGES)
    determinism.check(config)
    generates = settings.needs_generator(config)
    if not generates and (stage == "generator" or generator_workdir is not None):
        flag = "stage: 'generator'" if stage == "generator" else f"--generator_workdir={generator_workdir}"
        raise InputError(f"{flag}, but experiment {config.experiment!r} uses no generator")
    directory = Workdir(workdir)
    with contextlib.ExitStack() as lock:
        lock.enter_context(leaving_no_empty_folders(directory.path))
        directory.create()
        lock.enter_context(workdir_lock.locked(directory.path))
        directory.check(config)
        run = Run(config, directory, stage, retrain)
        if generates:
            run.choose_generator(generator_workdir, own=retrain and stage in ("all", "generator"))
        if stage in ("classifier", "evaluate", "report"):
            run.require_finished("generator" if stage == "classifier" else "classifier")
        if stage == "report":
            directory.read_results()
        run.load()
        same_data.refuse_other_data(directory, run.dataset, stage, run.replaced())
        if run.generator_home is not directory:
            run.generator_home = shared_generator.of_the_same_data(directory, config, run.dataset, generator_workdir)
            if stage == "classifier":
                run.require_finished("generator")
        run.lock = lock.pop_all()
    return run


@dataclasses.dataclass(frozen=True)
class Measured:
    """A trained classifier's test figures and predictions, the seconds that its training took, and its rollbacks."""

    experiment: str
    evaluation: Evaluation
    predictions: Int[np.ndarray, "examples"]
    seconds: float
    rollbacks: list[dict[str, Any]]


class Run:
    """A run in progress: its settings, directory and data."""

    def __init__(self, config: ConfigDict, workdir: Workdir, stage: str = "all", retrain: bool = False):
        """Prepares a run of checked settings; nothing is read or written yet."""
        self.config, self.workdir, self.generator_home = config, workdir, workdir
        self.stage, self.retrain = stage, retrain
        self.execution: Execution | None = None
        self.lock = contextlib.ExitStack()  # what keeps other processes out of the directory until the run is complete

    def complete(self, execution: Execution | None = None) -> dict[str, Any]:
        """Does what is left of a prepared run, and returns its results; ``execution`` as in ``loop.train``."""
        self.execution = execution
        with self.lock:
            return self._complete()

    def _complete(self) -> dict[str, Any]:
        self.workdir.move_aside(*self.replaced())  # first: what is left of a kill in between is still known as old
        self.workdir.claim(self.config)
        same_data.record(self.workdir, self.dataset)
        stopping.raise_if_asked()
        if settings.needs_generator(self.config):
            self.provide_generator(train=self.stage in ("all", "generator"))
        if self.config.mixing.mask != "none":
            self.picture_mixing()
        if self.stage == "generator":
            return {"files": self.workdir.written()}
        measured = self.classify(train=self.stage in ("all", "classifier"))
        found = {} if self.stage == "report" else self.write_results(measured)
        self.write_report(measured)
        return found | {"files": self.workdir.written()}

    def choose_generator(self, named: str | os.PathLike[str] | None, *, own: bool) -> None:
        """Decides whose generator is used; ``own``: that of this run in any case."""
        if not own:
            self.generator_home = shared_generator.choose(self.workdir, self.config, named)

    def require_finished(self, stage: str) -> None:
        """Refuses to go on with a stage whose forerunner is missing."""
        if stage == "generator" and not settings.needs_generator(self.config):
            return
        directory = self.generator_home.generator if stage == "generator" else self.workdir.classifier
        loop.require_finished(directory, stage, self.config[stage].epochs)

    def replaced(self) -> tuple[Path, ...]:
        """What is to be made again, and what depends on it; nothing unless the run is to be trained again."""
        run = self.workdir
        made_later = (run.classifier, run.baseline, run.results, run.report)
        drawn = (run.picture, run.masks_picture)
        if not self.retrain or self.stage not in ("all", "generator", "classifier"):
            return ()
        if self.stage == "classifier":
            return made_later if run.generator.exists() else (*drawn, *made_later)
        return (run.generator, *drawn, *made_later)

    def load(self) -> None:
        """Loads the few-shot set, and checks what only the data can tell."""
        config = self.config
        self.dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
        if config.mixing.mask != "none":
            counts = np.bincount(self.dataset.train.labels)
            smallest = f"the number of training images of class {self.dataset.class_names[counts.argmin()]!r}"
            settings.check_mixed_images(config.mixing.images, int(counts.min()), smallest)
        self.about = {
            "config": settings.config_to_dict(config),
            "class_names": list(self.dataset.class_names),
            "train_indices": self.dataset.train_indices.tolist(),
            "data": self.dataset.identity.digests(),
        }

    def provide_generator(self, *, train: bool) -> None:
        """Trains the generator if it is to be and is not yet, or notes down whose is used."""
        config = self.config
        if self.generator_home is not self.workdir:
            print(f"generator: that of {self.generator_home.path}", file=sys.stderr)
            self.generator_home = shared_generator.adopt(self.workdir, self.generator_home, config, self.dataset)
        elif train:
            augmentation = Augmentation.for_generator(config.augment, config.generator.image_side)
            stage = GeneratorStage(config, *self.training_data("generator", augmentation))

            def draw(state: State) -> dict[str, Image.Image]:
                return self._mixing_pictures.draw(stage.generator(state))

            self._train(stage, self.workdir.generator, "generator", draw)

    def picture_mixing(self) -> None:
        """Draws what becomes of some pairs, unless that is done."""
        paths = {PAIRS: self.workdir.picture, MASKS: self.workdir.masks_picture}
        if all(path.exists() for path in paths.values()):
            return
        generator = restore_generator(self.workdir.path) if settings.needs_generator(self.config) else None
        for name, sheet in self._mixing_pictures.draw(generator).items():
            pictures.save_png(paths[name], sheet)

    @cached_property
    def _mixing_pictures(self) -> MixingPictures:
        """Pairs of the images that the generator works on; of those of the classifier where there is none."""
        stage = "generator" if settings.needs_generator(self.config) else "classifier"
        augmentation = Augmentation.for_generator(self.config.augment, self.config[stage].image_side)
        data, _ = self.training_data(stage, augmentation)
        return MixingPictures(self.config, data, self.dataset.class_names)

    def classify(self, *, train: bool) -> dict[str, Measured]:
        """Trains (if asked, and not yet done) and measures the classifier, and the baseline if one is compared with."""
        config = self.config
        mixes = config.mixing.mask != "none"
        parts = {"classifier": (config.experiment, mixes)}
        if config.compare_with_baseline and mixes:
            parts["baseline"] = ("baseline", False)
        measured = {}
        for part, (experiment, mixes) in parts.items():
            directory = self.workdir.path / part
            if train or loop.is_finished(directory, config.classifier.epochs):
                stage = self.classifier_stage(mixes=mixes)
                trained = self._train(stage, directory, f"classifier ({experiment})")
                logits = stage.logits(trained.state)
                evaluation = evaluate_logits(logits, self.dataset.held_out.labels)
                predictions = predicted_classes(logits, self.dataset.held_out.labels)
                measured[part] = Measured(experiment, evaluation, predictions, trained.seconds, trained.rollbacks)
        return measured

    def _train(self, stage: loop.Stage, directory: Path, title: str, draw: loop.Draw | None = None) -> loop.Trained:
        return loop.train(stage, directory, self.config, self.about, title=title, draw=draw, execution=self.execution)

    def classifier_stage(self, *, mixes: bool) -> ClassifierStage:
        """The classifier's training, on mixed images or on the augmented images themselves."""
        config, held_out = self.config, self.dataset.held_out
        generator = discriminator = None
        if mixes and settings.needs_generator(config):
            generator, discriminator = restore_generator(self.workdir.path), restore_discriminator(self.workdir.path)
        augmentation = Augmentation.for_classifier(config.augment, config.classifier.image_side)
        data, plan = self.training_data("classifier", augmentation)
        test_images = resize(held_out.images, config.classifier.image_side)
        test_set = TestSet(test_images, held_out.labels, config.evaluation.batch_size)
        classes = len(self.dataset.class_names)
        return ClassifierStage(config, data, plan, classes, test_set, mixes, generator, discriminator)

    def training_data(self, stage: str, augmentation: Augmentation) -> tuple[ResidentData, EpochPlan]:
        """The few-shot set on the device, at the side that a stage works at, and the stage's epochs."""
        config, training = self.config, self.dataset.train
        images_per_class = config.max_labels_per_class
        if images_per_class is None and config.repeat_unlimited:
            images_per_class = int(np.bincount(training.labels).max())
        repeats = repeats_per_epoch(config[stage].num_dataset_repeats_base, images_per_class)
        images = resize(training.images, config[stage].image_side)
        segments = None
        if config.mixing.mask == "segmentation":
            rule = FelzenszwalbSettings.of(config.mixing)
            segments = label_maps(images, rule, augmentation.segmented_padding, self.workdir.segments)
        data = to_device(images, training.labels, len(self.dataset.class_names), segments)
        return data, EpochPlan(len(images), repeats, config[stage].batch_size)

    def write_results(self, measured: dict[str, Measured]) -> dict[str, Any]:
        """Writes the figures; returns them with the rows of the closing table."""
        config, chosen = self.config, measured["classifier"]
        generator = loop.newest(self.generator_home.generator) or {}
        generator_seconds = generator.get("seconds")
        seconds = {part: one.seconds for part, one in measured.items()}
        rollbacks = {part: one.rollbacks for part, one in measured.items()}
        environment = results.environment()
        content = {
            "dataset": config.dataset.name,
            "experiment": config.experiment,
            "max_labels_per_class": config.max_labels_per_class,
            "seed": config.seed,
            config.dataset.evaluate_on: dataclasses.asdict(chosen.evaluation),
            "seconds": seconds | ({} if generator_seconds is None else {"generator": generator_seconds}),
            "rollbacks": rollbacks | ({"generator": generator["rollbacks"]} if generator else {}),
            "device": environment.pop("devices"),
            "versions": environment.pop("packages") | {"python": environment.pop("python")},
            "git_commit": results.git_commit(),
            "machine": environment,
            "config": self.about["config"],
            "class_names": self.about["class_names"],
            "train_indices": self.about["train_indices"],
            "train_indices_sha256": results.indices_digest(self.about["train_indices"]),
            "data_sha256": self.about["data"],
        }
        if "baseline" in measured:
            content["baseline"] = {config.dataset.evaluate_on: dataclasses.asdict(measured["baseline"].evaluation)}
        alone = self._right_alone(measured)
        if alone is not None:
            only = {"only_classifier_right": alone[0], "only_baseline_right": alone[1]}
            content["against_baseline"] = only | {"mcnemar_p": statistics.mcnemar(*alone)}
        files.write_json(self.workdir.results, marked(content))
        rows = [self._row(one, generator_seconds, alone) for one in reversed(measured.values())]
        return content | {"summary": rows}

    def write_report(self, measured: dict[str, Measured]) -> None:
        """Writes the page that shows the run, from what the run's files hold and from the predictions."""
        report.write(self.workdir, self.dataset, {part: one.predictions for part, one in measured.items()})

    def _right_alone(self, measured: dict[str, Measured]) -> list[int] | None:
        """How many images the classifier alone, and how many the baseline alone has right; None without a baseline."""
        if "baseline" not in measured:
            return None
        labels = self.dataset.held_out.labels
        right = (measured[part].predictions == labels for part in ("classifier", "baseline"))
        return list(statistics.only_right(*right))

    def _row(self, measured: Measured, generator_seconds: float | None, alone: list[int] | None) -> results.SummaryRow:
        """A line of the closing table; the time of mixing includes its generator's."""
        mixing_seconds = 0.0 if measured.experiment == "baseline" else generator_seconds or 0.0
        return results.SummaryRow(
            experiment=measured.experiment,
            max_labels_per_class=self.config.max_labels_per_class,
            top_1=measured.evaluation.top1,
            top_5=measured.evaluation.top5 if len(self.dataset.class_names) > 5 else None,
            seconds=measured.seconds + mixing_seconds,
            examples=measured.evaluation.examples,
            alone=None if measured.experiment == "baseline" else alone,
        )
