"""A whole run: from settings to trained networks, their test figures, and the files that hold both."""

import dataclasses
import os
import sys
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import mixing_picture, shared_generator
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.data.sampling import EpochPlan, ResidentData, repeats_per_epoch, to_device
from chimeramix_jax.data.segments import FelzenszwalbSettings, label_maps
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.evaluation import Evaluation, TestSet
from chimeramix_jax.reporting import files, pictures, results
from chimeramix_jax.restore import restore_discriminator, restore_generator
from chimeramix_jax.training import loop
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
        stage: "generator" and "classifier" train one stage, "evaluate" measures trained classifiers, "all" does all.
        retrain: trains the stage again although it is finished, and what was trained with it; the old files are moved
            aside.
        generator_workdir: the directory of another run, whose generator is to be used instead of training one; None:
            that of a run in the same folder, if one has a finished generator of the same settings.

    Returns:
        What ``results.json`` holds (nothing for stage "generator"), ``summary`` (rows for
        ``reporting.results.summary_table``) and ``files`` (what was written).

    Raises:
        InputError: a setting, the data or the directory does not fit; nothing was changed.
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
    """Does the part of ``train_and_evaluate`` that can be refused: checks all there is to check, and loads the data."""
    settings.check(config)
    available_devices(config.devices)
    if stage not in settings.STAGES:
        raise not_one_of("--stage", stage, settings.STAGES)
    generates = settings.needs_generator(config)
    if not generates and (stage == "generator" or generator_workdir is not None):
        flag = "stage: 'generator'" if stage == "generator" else f"--generator_workdir={generator_workdir}"
        raise InputError(f"{flag}, but experiment {config.experiment!r} uses no generator")
    directory = Workdir(workdir)
    directory.check(config)
    run = Run(config, directory, stage, retrain)
    if generates:
        run.choose_generator(generator_workdir, own=retrain and stage in ("all", "generator"))
    if stage in ("classifier", "evaluate"):
        run.require_finished("generator" if stage == "classifier" else "classifier")
    run.load()
    return run


@dataclasses.dataclass(frozen=True)
class Measured:
    """A trained classifier's test figures, and the seconds that its training took."""

    experiment: str
    evaluation: Evaluation
    seconds: float


class Run:
    """A run in progress: its settings, directory and data."""

    def __init__(self, config: ConfigDict, workdir: Workdir, stage: str, retrain: bool):
        """Prepares a run of checked settings; nothing is read or written yet."""
        self.config, self.workdir, self.generator_home = config, workdir, workdir
        self.stage, self.retrain = stage, retrain
        self.execution: Execution | None = None

    def complete(self, execution: Execution | None = None) -> dict[str, Any]:
        """Does what is left of a prepared run, and returns its results; ``execution`` as in ``loop.train``."""
        self.execution = execution
        self.workdir.claim(self.config)
        if self.retrain:
            self.discard(self.stage)
        if settings.needs_generator(self.config):
            self.provide_generator(train=self.stage in ("all", "generator"))
        if self.config.mixing.mask != "none":
            self.picture_mixing()
        if self.stage == "generator":
            return {"files": self.workdir.written()}
        return self.classify(train=self.stage != "evaluate")

    def choose_generator(self, named: str | os.PathLike[str] | None, *, own: bool) -> None:
        """Decides whose generator is used; ``own``: that of this run in any case."""
        if not own:
            self.generator_home = shared_generator.choose(self.workdir, self.config, named)

    def require_finished(self, stage: str) -> None:
        """Refuses to go on with a stage whose forerunner is missing."""
        if stage == "generator" and not settings.needs_generator(self.config):
            return
        directory = self.generator_home.generator if stage == "generator" else self.workdir.classifier
        if not loop.is_finished(directory, self.config[stage].epochs):
            raise InputError(f"{directory}: holds no finished {stage}; train it first with --stage={stage}")

    def discard(self, stage: str) -> None:
        """Moves aside what is to be made again, and what depends on it."""
        made_later = (self.workdir.classifier, self.workdir.baseline, self.workdir.results)
        if stage in ("all", "generator"):
            self.workdir.move_aside(self.workdir.generator, self.workdir.picture, *made_later)
        elif stage == "classifier":
            self.workdir.move_aside(*made_later)

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
        }
        if self.generator_home is not self.workdir:
            shared_generator.check_split(self.generator_home, self.about)

    def provide_generator(self, *, train: bool) -> None:
        """Trains the generator if it is to be and is not yet, or notes down whose is used."""
        config = self.config
        if self.generator_home is not self.workdir:
            self.workdir.use_generator_of(self.generator_home)
            print(f"generator: that of {self.generator_home.path}", file=sys.stderr)
        elif train:
            augmentation = Augmentation.for_generator(config.augment, config.generator.image_side)
            stage = GeneratorStage(config, *self._training_data("generator", augmentation))
            loop.train(stage, self.workdir.generator, config, self.about, title="generator", execution=self.execution)

    def picture_mixing(self) -> None:
        """Draws what becomes of some pairs, unless that is done."""
        if self.workdir.picture.exists():
            return
        generates = settings.needs_generator(self.config)
        stage = "generator" if generates else "classifier"
        augmentation = Augmentation.for_generator(self.config.augment, self.config[stage].image_side)
        data, _ = self._training_data(stage, augmentation)
        generator = restore_generator(self.workdir.path) if generates else None
        sheet = mixing_picture.draw(self.config, data, self.dataset.class_names, generator)
        pictures.save_png(self.workdir.picture, sheet)

    def classify(self, *, train: bool) -> dict[str, Any]:
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
                title = f"classifier ({experiment})"
                trained = loop.train(stage, directory, config, self.about, title=title, execution=self.execution)
                measured[part] = Measured(experiment, stage.measure(trained.state), trained.seconds)
        return self._write_results(measured)

    def classifier_stage(self, *, mixes: bool) -> ClassifierStage:
        """The classifier's training, on mixed images or on the augmented images themselves."""
        config, held_out = self.config, self.dataset.held_out
        generator = discriminator = None
        if mixes and settings.needs_generator(config):
            generator, discriminator = restore_generator(self.workdir.path), restore_discriminator(self.workdir.path)
        augmentation = Augmentation.for_classifier(config.augment, config.classifier.image_side)
        data, plan = self._training_data("classifier", augmentation)
        test_images = resize(held_out.images, config.classifier.image_side)
        test_set = TestSet(test_images, held_out.labels, config.evaluation.batch_size)
        classes = len(self.dataset.class_names)
        return ClassifierStage(config, data, plan, classes, test_set, mixes, generator, discriminator)

    def _training_data(self, stage: str, augmentation: Augmentation) -> tuple[ResidentData, EpochPlan]:
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

    def _write_results(self, measured: dict[str, Measured]) -> dict[str, Any]:
        config, chosen = self.config, measured["classifier"]
        generator_seconds = loop.trained_seconds(self.generator_home.generator)
        seconds = {part: one.seconds for part, one in measured.items()}
        environment = results.environment()
        content = {
            "dataset": config.dataset.name,
            "experiment": config.experiment,
            "max_labels_per_class": config.max_labels_per_class,
            "seed": config.seed,
            config.dataset.evaluate_on: dataclasses.asdict(chosen.evaluation),
            "seconds": seconds | ({} if generator_seconds is None else {"generator": generator_seconds}),
            "device": environment.pop("devices"),
            "versions": environment.pop("packages") | {"python": environment.pop("python")},
            "machine": environment,
            "config": self.about["config"],
            "class_names": self.about["class_names"],
            "train_indices": self.about["train_indices"],
        }
        if "baseline" in measured:
            content["baseline"] = {config.dataset.evaluate_on: dataclasses.asdict(measured["baseline"].evaluation)}
        files.write_json(self.workdir.results, content)
        rows = [self._row(one, generator_seconds) for one in reversed(measured.values())]
        return content | {"summary": rows, "files": self.workdir.written()}

    def _row(self, measured: Measured, generator_seconds: float | None) -> results.SummaryRow:
        """A line of the closing table; the time of mixing includes its generator's."""
        mixing_seconds = 0.0 if measured.experiment == "baseline" else generator_seconds or 0.0
        return results.SummaryRow(
            experiment=measured.experiment,
            max_labels_per_class=self.config.max_labels_per_class,
            top_1=measured.evaluation.top1,
            top_5=measured.evaluation.top5 if len(self.dataset.class_names) > 5 else None,
            seconds=measured.seconds + mixing_seconds,
        )
