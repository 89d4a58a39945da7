"""The models of a finished run, and for every photo one of them that was not trained on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.data.identity import DataIdentity
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.out_of_fold import folder_of_fold
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoints
from chimeramix_jax.training.evaluation import TestSet, predicted_classes
from chimeramix_jax.training.prediction import CompiledClassifier


@dataclass(frozen=True)
class Models:
    """The models of a run: the final one and, if it has folds, those of the first division into folds."""

    workdir: Workdir
    config: ConfigDict
    identity: DataIdentity  # of the photos of the final model
    # The directory of the fold's run that left out a photo, by the photo's digest; empty without folds.
    left_out_by: Mapping[str, Path]
    # The digests of the photos that each fold's model was trained on, by its directory.
    photos_of_folds: Mapping[Path, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, workdir: Workdir) -> "Models":
        """Finds the models in a run's directory; raises InputError if its classifier is not finished.

        Folds whose models are not finished are left out. So are those of a choice, which had a part of the final
        model's time, and perhaps smaller images: they do not show how good that model is.
        """
        config, identity = workdir.read_config(), workdir.read_data()
        was_chosen = workdir.auto_record.exists()  # and so cannot be trained again in its directory
        if identity is None:
            raise InputError(
                f"--workdir={workdir.path}: holds a run of an earlier version, which did not record its photos, so "
                f"they cannot be compared; train it again {'' if was_chosen else 'with --retrain, or '}in another "
                "--workdir"
            )
        if not _trained_on(workdir, config, identity):
            raise InputError(
                f"--workdir={workdir.path}: its training is not finished, so there is no model to update; finish it "
                "with the command that began it or, if its photos have changed since, start over "
                f"{'in another --workdir' if was_chosen else 'with --retrain'}"
            )
        left_out_by: dict[str, Path] = {}
        photos_of_folds: dict[Path, frozenset[str]] = {}
        for fold in map(Workdir, _folds(workdir, config)):
            of_fold = fold.read_data() if fold.has_config() else None
            if of_fold is not None and _trained_on(fold, fold.read_config(), of_fold):
                photos_of_folds[fold.path] = frozenset(of_fold.train.images)
                left_out = set(of_fold.held_out.images) - photos_of_folds[fold.path]
                left_out_by |= dict.fromkeys(left_out, fold.path)
        return cls(workdir, config, identity, left_out_by, photos_of_folds)

    def unseen_by(self, images: Sequence[str]) -> list[Path | None]:
        """Returns for each digest the directory of a model that was not trained on the photo: the final one if it can.

        None: there is no model without it.
        """
        trained_on = set(self.identity.train.images)
        return [self.left_out_by.get(image) if image in trained_on else self.workdir.path for image in images]

    def know_relatives(
        self, images: Sequence[str], models: Sequence[Path | None], units: Mapping[str, str]
    ) -> Bool[np.ndarray, "photos"]:
        """Returns whether each photo's model was trained on another one of its unit; False where there is no model.

        Args:
            images: the digests of the photos.
            models: the directory of each photo's model.
            units: the name of the unit (``data/kept_together.py``) of each photo that is still there, by its digest.
        """
        trained_on = {self.workdir.path: frozenset(self.identity.train.images), **self.photos_of_folds}
        known = {
            path: {units[image] for image in trained_on.get(path, ()) if image in units}
            for path in dict.fromkeys(models)
            if path is not None
        }
        pairs = zip(images, models, strict=True)
        return np.array([path is not None and units.get(image) in known[path] for image, path in pairs], bool)

    def right(
        self,
        pixels: UInt8[np.ndarray, "photos side side 3"],
        true_names: Sequence[str],
        models: Sequence[Path | None],
    ) -> Bool[np.ndarray, "photos"]:
        """Returns whether each photo is classified correctly by its model; False where there is no model.

        Every model classifies all photos, so that the models of all folds share a compiled program.

        Args:
            pixels: the photos, at the side at which the data set is stored.
            true_names: the name of each photo's class; one that the model does not know is never right.
            models: the directory of each photo's model.
        """
        right = np.zeros(len(models), bool)
        for directory in dict.fromkeys(path for path in models if path is not None):
            rows = np.array([path == directory for path in models])
            right[rows] = self._right_by(directory, pixels, true_names)[rows]
        return right

    def _right_by(
        self, directory: Path, pixels: UInt8[np.ndarray, "photos side side 3"], true_names: Sequence[str]
    ) -> Bool[np.ndarray, "photos"]:
        run = Workdir(directory)
        trained, config = TrainedClassifier.newest(run.classifier), run.read_config()
        numbers = {name: label for label, name in enumerate(trained.class_names)}
        labels = np.array([numbers.get(name, 0) for name in true_names], np.int64)
        tests = TestSet(resize(pixels, config.classifier.image_side), labels, config.evaluation.batch_size)
        logits = tests.logits(CompiledClassifier(trained.network, config).logits)
        known = np.array([name in numbers for name in true_names], bool)
        return known & (predicted_classes(logits, labels) == labels)


def _trained_on(workdir: Workdir, config: ConfigDict, identity: DataIdentity) -> bool:
    """Whether a run's classifier is finished and was trained on the photos that the run has recorded."""
    about = checkpoints.newest(workdir.classifier)
    return about is not None and about["epoch"] >= config.classifier.epochs and about.get("data") == identity.digests()


def _folds(workdir: Workdir, config: ConfigDict) -> Iterator[Path]:
    """Yields the directories of the runs that left out a fold, and else trained as the final one did.

    They are those of the first division into folds; a run whose recipe was chosen has none.
    """
    if workdir.auto_record.exists():
        return
    for fold in range(1, config.folds + 1):
        yield workdir.folds / folder_of_fold(config, fold)
