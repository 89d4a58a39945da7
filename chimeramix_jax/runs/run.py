"""One prepared run in its directory: trains and evaluates it stage by stage."""

import hashlib
import sys
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax import config as settings
from chimeramix_jax.config.experiments import without_mixing
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.mixing import mix_quality
from chimeramix_jax.mixing.mixer import Mixer
from chimeramix_jax.mixing.pictures import MASKS, PAIRS, MixingPictures
from chimeramix_jax.reporting import pictures
from chimeramix_jax.reporting.clustered import effective_number
from chimeramix_jax.runs import calibration, data_check, retraining, same_data, same_settings, shared_generator
from chimeramix_jax.runs.held_out import describe, write_table
from chimeramix_jax.runs.out_of_fold import OutOfFold, measured_data
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.restore import restore_generator, restore_mixing_networks
from chimeramix_jax.runs.results import Measured, Results, results_of
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import precision, stopping
from chimeramix_jax.training import checkpoints, loop
from chimeramix_jax.training.calls import Running, State
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet, evaluate_logits, predicted_classes
from chimeramix_jax.training.execution import Execution
from chimeramix_jax.training.generator import GeneratorStage
from chimeramix_jax.training.measured_classifier import MeasuredClassifier
from chimeramix_jax.training.members import TrainedMembers, train_members
from chimeramix_jax.training.pretraining import PretrainingStage
from chimeramix_jax.training.stage_data import StageData, epoch_plan, load_stage_data

_test_sets: weakref.WeakValueDictionary[tuple[bytes, int], TestSet] = weakref.WeakValueDictionary()


def load_dataset(config: ConfigDict) -> FewShotDataset:
    """Loads a run's few-shot set; raises InputError if a class has too few images to mix."""
    dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed, config.folds, config.fold)
    data_check.refuse_too_few_to_mix(
        config, dataset.train.labels[dataset.distinct_training], dataset.class_names, config.fold
    )
    return dataset


class Run:
    """A prepared run: its settings, directory and data."""

    def __init__(
        self,
        request: Request,
        dataset: FewShotDataset,
        generator_home: Workdir,
        replaced: Sequence[Path] = (),
        *,
        continues_retraining: bool = False,
    ):
        """Takes what ``prepared`` has checked.

        Args:
            request: what to do.
            dataset: the run's data.
            generator_home: the directory of the generator to use.
            replaced: the files to move aside.
            continues_retraining: whether an earlier process has begun what ``request.retrain`` asks for.
        """
        self.request, self.dataset, self._replaced = request, dataset, replaced
        self.continues_retraining = continues_retraining
        self.config, self.workdir, self.generator_home = request.config, request.workdir, generator_home
        self.seeds_together = 1  # how many runs the process trains at the same time; set before the run is completed
        self._stage_data: dict[str, StageData] = {}

    def begin(self) -> None:
        """Moves the files aside that are to be made again; does so once.

        That is the first thing that changes files, so that old ones are never mistaken for new ones, even if the run is
        killed here.
        """
        replaced, self._replaced = self._replaced, ()
        if replaced:
            self.workdir.move_aside(*replaced)
            retraining.begin(self.workdir, self.request.stage)

    def claim(self) -> None:
        """Begins, and records the settings and the data: the directory is that of this run from now on."""
        self.begin()
        self._claim_settings()
        same_data.record(self.workdir, self.dataset)

    def end(self) -> None:
        """Notes that nothing is left to be trained again; called when all runs of the request are complete."""
        if self.request.stage not in settings.MEASURING_STAGES:
            retraining.end(self.workdir, self.request.stage)

    @cached_property
    def about(self) -> dict[str, Any]:
        """The data stored with every checkpoint, which are all that is needed to use its networks."""
        return {
            "config": settings.config_to_dict(self.config),
            "class_names": list(self.dataset.class_names),
            "train_indices": self.dataset.train_indices.tolist(),
            "data": self.dataset.identity.digests(),
            "precision": precision.resolved(self.config.precision),
            "seeds_together": self.seeds_together,  # whose time the seconds of training are
        }

    def complete(
        self, execution: Execution | None = None, out_of_fold: OutOfFold | None = None
    ) -> Running[Results | None]:
        """Completes the run; returns its results, or None for stage "generator".

        ``out_of_fold`` are the predictions of its folds, if it has any; without held-out images they are its results.
        """
        measures_anew = self.request.stage == "evaluate" and self.workdir.has_config()
        if measures_anew:
            self.begin()
            same_data.record(self.workdir, self.dataset)
        else:
            self.claim()
        if self.request.details:
            data_check.record_and_print(self.workdir, self.config, self.dataset)
        stopping.raise_if_asked()
        if settings.needs_generator(self.config):
            yield from self._provide_generator(execution)
        if self.config.mixing.mask != "none" and self.request.details:
            self._picture_mixing()
        if self.request.stage == "generator":
            return None
        measured, mixes = yield from self._measure_classifiers(execution, out_of_fold)
        of_folds = None if out_of_fold is None else {part: out_of_fold.content(part) for part in measured}
        stages = {"generator": self.generator_home.generator, "pretraining": self.workdir.pretraining}
        stages |= {part: self.workdir.path / part for part in measured}
        results = results_of(self.config, self.about, self.dataset, measured, stages, of_folds, mixes)
        if self.request.stage != "report":
            results.write(self.workdir)
        if measures_anew:  # not earlier: what predicts needs the views that the temperature in the results is for
            self._claim_settings()
        if results.held_out is not None and (self.request.stage != "report" or not self.workdir.held_out.exists()):
            described = measured_data(self.dataset, out_of_fold)
            write_table(self.workdir.held_out, results.held_out, described)  # a run of an earlier version has none
        return results

    def _claim_settings(self) -> None:
        """Records the settings of the run."""
        self.workdir.claim(same_settings.as_begun(self.workdir, self.config))

    def _provide_generator(self, execution: Execution | None) -> Running[None]:
        """Trains the generator if that is requested and not done yet, or adopts another run's."""
        if self.generator_home is not self.workdir:
            print(f"generator: uses that of {self.generator_home.path}", file=sys.stderr)
            self.generator_home = shared_generator.adopt(self.workdir, self.generator_home, self.config, self.dataset)
        elif self.request.trains_generator:
            stage = GeneratorStage(self.config, self.stage_data("generator"))

            def draw(state: State) -> dict[str, Image.Image]:
                return self._mixing_pictures.draw(stage.generator(state))

            yield from self._train(stage, self.workdir.generator, "generator", execution, draw)

    def _picture_mixing(self) -> None:
        """Draws how some pairs are mixed, unless the pictures exist."""
        paths = {PAIRS: self.workdir.picture, MASKS: self.workdir.masks_picture}
        if all(path.exists() for path in paths.values()):
            return
        generator = restore_generator(self.workdir.path) if settings.needs_generator(self.config) else None
        for name, sheet in self._mixing_pictures.draw(generator).items():
            pictures.save_png(paths[name], sheet)

    @cached_property
    def _mixing_pictures(self) -> MixingPictures:
        """Pairs of images, at the size at which the run mixes them."""
        stage = "generator" if settings.needs_generator(self.config) else "classifier"
        data = self.stage_data(stage)
        return MixingPictures(self.config, data.images, data.augmentation.views, self.dataset.class_names)

    def _measure_classifiers(
        self, execution: Execution | None, out_of_fold: OutOfFold | None
    ) -> Running[tuple[dict[str, Measured], mix_quality.MixQuality | None]]:
        """Trains the classifier, if requested and not done yet, and evaluates it; the same for the baseline, if any.

        Also returns how good the generator's mixes are, if there is a baseline to measure them with.
        """
        mixes = self.config.mixing.mask != "none"
        parts = {"classifier": (self.config.experiment, mixes)}
        if self.config.compare_with_baseline and mixes:
            parts["baseline"] = (self._baseline_name, False)
        measured, quality, epochs = {}, None, self.config.classifier.epochs
        pretrained = yield from self._pretrained(parts, execution)
        for part, (experiment, part_mixes) in parts.items():
            directory = self.workdir.path / part
            if self.request.trains_classifier or checkpoints.is_finished(directory, epochs):
                stage = self.classifier_stage(mixes=part_mixes, pretrained=pretrained)
                title = f"classifier ({experiment})"
                limit = self.request.limits.get(part)
                trained = yield from train_members(
                    stage, directory, self.config, self.about, title=title, execution=execution, limit=limit
                )
                measured[part] = self._measured(part, experiment, trained, out_of_fold)
                if part == "baseline":
                    quality = self._mix_quality(trained)
        return measured, quality

    @property
    def _baseline_name(self) -> str:
        """The experiment that the baseline is, as in a summary; never the name of the run's own experiment."""
        name = without_mixing(settings.flatten(settings.config_to_dict(self.config)))
        return name if name != self.config.experiment else f"{name} without mixing"

    def _mix_quality(self, baseline: TrainedMembers) -> mix_quality.MixQuality | None:
        """Measures the generator's mixes with the baseline.

        Returns None if there is no generator, if the request is without details, or if the results stay as they are.
        """
        if not settings.needs_generator(self.config) or self.request.stage == "report" or not self.request.details:
            return None
        generator, discriminator = restore_mixing_networks(self.workdir.path)
        data = self.stage_data("generator")  # cropped and mirrored, but changed in no other way
        mixer, networks = Mixer.of(self.config, data.augmentation, generator, discriminator)
        key, side = jax.random.key(self.config.seed), self.config.classifier.image_side
        return mix_quality.measure(
            mixer, networks, data.images, key, partial(baseline.classifier.logits_of, baseline.state), side
        )

    def _pretrained(self, parts: Iterable[str], execution: Execution | None) -> Running[State | None]:
        """Pretrains the network of all classifiers, unless that is done; returns the state of pretraining.

        Returns None if there is no pretraining, or no classifier in ``parts`` is left to be trained.
        """
        method, epochs = self.config.pretraining.method, self.config.classifier.epochs
        if method == "none" or not self.request.trains_classifier:
            return None
        if all(checkpoints.is_finished(self.workdir.path / part, epochs) for part in parts):
            return None
        data = self.stage_data("classifier")
        plan = epoch_plan(self.config, "pretraining", self.dataset.train.labels)
        stage = PretrainingStage(self.config, replace(data, plan=plan), len(self.dataset.class_names))
        trained = yield from self._train(stage, self.workdir.pretraining, f"pretraining ({method})", execution)
        return trained.state

    def _measured(self, part: str, experiment: str, trained: TrainedMembers, out_of_fold: OutOfFold | None) -> Measured:
        """Evaluates a trained classifier and, unless it is the baseline, says more about every held-out image.

        Without held-out images, the predictions of the folds stand in for its own.
        """
        labels, description, groups = self.dataset.held_out.labels, None, self.dataset.groups_held_out
        classifier, accuracies = trained.classifier, trained.accuracies
        described = part == "classifier" and self.request.details
        if out_of_fold is not None and not len(labels):
            labels, logits, evaluation = (
                out_of_fold.images.labels,
                out_of_fold.logits[part],
                out_of_fold.evaluation(part),
            )
            description = out_of_fold.description if described else None
            accuracies, groups = out_of_fold.accuracies.get(part), out_of_fold.groups
            effective = out_of_fold.effective_examples(part)
        else:
            if described:
                logits, description = describe(classifier, trained.state, self.dataset)
            else:
                logits = classifier.logits(trained.state)
            evaluation = evaluate_logits(logits, labels)
            effective = effective_number(predicted_classes(logits, labels) == labels, groups)
        calibrated = self._calibration(classifier, part, trained.state, logits, out_of_fold)
        if description is not None:
            description = description.at_temperature(logits, self._temperature(calibrated))
        members = {"seconds": trained.seconds, "top1": accuracies} if len(trained.seconds) > 1 else None
        return Measured(
            experiment,
            evaluation=evaluation,
            logits=logits,
            predictions=predicted_classes(logits, labels),
            labels=labels,
            groups=groups,
            effective_examples=effective,
            seconds=sum(trained.seconds),
            rollbacks=trained.rollbacks,
            held_out=description,
            calibration=calibrated,
            members=members,
            epochs_left_out=trained.epochs_left_out,
        )

    def _calibration(
        self,
        classifier: MeasuredClassifier,
        part: str,
        state: State,
        logits: calibration.Logits,
        folds: OutOfFold | None,
    ) -> dict[str, Any] | None:
        """Calibrates a classifier, unless its results are kept as they are, or only measure a fold."""
        if self.request.stage == "report" or self.config.fold or not self.request.details:
            return None
        return calibration.calibration_of(
            self.config, self.dataset, logits, folds, part, partial(classifier.logits_of, state)
        )

    def _temperature(self, calibrated: dict[str, Any] | None) -> float:
        """Returns the temperature just fitted or, for stage "report", that in the results; 1 without any."""
        if self.request.stage == "report":
            return calibration.temperature_of(self.workdir)
        return 1.0 if calibrated is None else calibrated["temperature"] or 1.0

    def classifier_stage(self, *, mixes: bool, pretrained: State | None = None) -> ClassifierStage:
        """Returns the stage that trains the classifier or, unless ``mixes``, the baseline, which mixes no batches.

        ``pretrained`` is the state of pretraining from whose network a new training starts; None: from a random one.
        """
        uses_generator = mixes and settings.needs_generator(self.config)
        generator, discriminator = restore_mixing_networks(self.workdir.path) if uses_generator else (None, None)
        data, classes, held_out = self.stage_data("classifier"), len(self.dataset.class_names), self._test_set
        return ClassifierStage(self.config, data, classes, held_out, mixes, generator, discriminator, pretrained)

    def _train(
        self,
        stage: loop.Stage,
        directory: Path,
        title: str,
        execution: Execution | None,
        draw: loop.Draw | None = None,
    ) -> Running[loop.Trained]:
        limit = self.request.limits.get(stage.name)
        return loop.train(
            stage, directory, self.config, self.about, title=title, draw=draw, execution=execution, limit=limit
        )

    def stage_data(self, stage: str) -> StageData:
        """Returns the training images, prepared for a stage, "generator" or "classifier"; they are loaded once."""
        if stage not in self._stage_data:
            train, classes = self.dataset.train, len(self.dataset.class_names)
            self._stage_data[stage] = load_stage_data(
                self.config, stage, train.images, train.labels, classes, self.workdir.segments
            )
        return self._stage_data[stage]

    @cached_property
    def _test_set(self) -> TestSet:
        """The held-out images on the device, shared with other runs of this process that hold out the same images."""
        held_out, batch_size = self.dataset.held_out, self.config.evaluation.batch_size
        images = resize(held_out.images, self.config.classifier.image_side)
        digest = hashlib.sha256(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(held_out.labels).data)
        key = digest.digest(), batch_size
        test_set = _test_sets.get(key)
        if test_set is None:
            test_set = _test_sets[key] = TestSet(images, held_out.labels, batch_size)
        return test_set
