"""Classifies single photos, and finds which places speak for the class and which training images are near."""

import dataclasses
import warnings
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from PIL import Image

from chimeramix_jax.config import catalog
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.image_paths import IgnoredFilesWarning
from chimeramix_jax.data.photo_views import PICTURE_SIDE, PhotoView
from chimeramix_jax.data.preparation import SkippedWarning
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.report import mistakes
from chimeramix_jax.report.mistakes import Neighbour
from chimeramix_jax.runs import same_data
from chimeramix_jax.runs.nearest import nearest_by_cosine
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.contrast_maps import ContrastMaps
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.prediction import CompiledClassifier
from chimeramix_jax.use.prediction import Predictor
from chimeramix_jax.use.prediction_formats import Prediction

NEAREST = 6  # training images that are shown


@dataclass(frozen=True)
class Explanation:
    """What speaks for the class of a photo."""

    picture: Image.Image  # the part of the photo that the classifier sees
    overlay: Image.Image  # the same in grey: orange where it speaks for the most probable class, blue for the second
    nearest: list[Neighbour] = field(default_factory=list)  # the nearest first; empty without training images


@dataclass(frozen=True)
class Examination:
    """What the classifier makes of a photo."""

    prediction: Prediction
    explanation: Explanation | None  # None: it was not requested


class TrainingImages:
    """The training images of a run, and their features."""

    def __init__(self, dataset: FewShotDataset, features: Float[np.ndarray, "distinct channels"]):
        """Takes a run's data and the features of its distinct training images, in their order."""
        self._dataset, self._features = dataset, features

    def nearest(self, features: Float[np.ndarray, "1 channels"]) -> list[Neighbour]:
        """Returns the images whose features are most similar to those of a photo, the most similar first."""
        found = nearest_by_cosine(features, self._features, NEAREST)
        positions = self._dataset.distinct_training[found.indices]
        return mistakes.neighbours(self._dataset, found._replace(indices=positions), 0)


class Examiner:
    """A classifier with its training images. Each method may be called by one thread at a time."""

    def __init__(self, predictor: Predictor):
        """Prepares for the classifier's photos; nothing is compiled before the first."""
        self._predictor, config = predictor, predictor.config
        self._stored_side, self._side = catalog.stored_image_side(config.dataset), config.classifier.image_side
        self._fit = config.dataset.fit
        self._maps = ContrastMaps(predictor.network, config.precision, predictor.temperature)
        self._classifier = CompiledClassifier(predictor.network, config)
        self._training: TrainingImages | None = None

    def load_training_images(self, workdir: Workdir) -> None:
        """Loads a run's training images and computes their features, so that photos are compared with them.

        Raises InputError if they are gone, or are not those that the classifier was trained on.
        """
        config = self._predictor.config
        with warnings.catch_warnings():
            for category in (IgnoredFilesWarning, SkippedWarning):  # the run itself has warned of these
                warnings.simplefilter("ignore", category)
            dataset = load_dataset(config)
        same_data.refuse_other_data(workdir, dataset, "evaluate")
        distinct = dataset.distinct_training
        images = resize(dataset.train.images[distinct], self._side)
        batches = TestSet(images, dataset.train.labels[distinct], config.evaluation.batch_size)
        (features,) = batches.outputs(lambda images: (self._classifier.features(images),))
        self._training = TrainingImages(dataset, features)

    def warm_up(self) -> None:
        """Compiles everything that a photo needs."""
        self.examine(Image.new("RGB", (self._stored_side, self._stored_side)), "warm-up", explain=True)

    def examine(
        self, photo: Image.Image, name: str, *, explain: bool, reject_below: float | None = None
    ) -> Examination:
        """Classifies an upright RGB photo as ``predict`` does.

        Args:
            photo: of any size.
            name: the photo's name in the prediction.
            explain: whether to explain the class, too.
            reject_below: see ``predict``.
        """
        # Not its square, as the digests of training images are of whole photos; and as an array, since the image may
        # still have the EXIF orientation that has been applied.
        (prediction,) = self._predictor.predict(np.asarray(photo), reject_below=reject_below)
        prediction = dataclasses.replace(prediction, name=name)
        return Examination(prediction, self._explanation(photo, prediction) if explain else None)

    def _explanation(self, photo: Image.Image, prediction: Prediction) -> Explanation:
        square = np.asarray(squared(photo, self._stored_side, self._fit))
        pixels = resize(square[None], self._side)
        first, second = (np.array([self._predictor.class_names.index(name)]) for name in prediction.classes[:2])
        (heat,) = self._maps(pixels, first, second)
        view = PhotoView.of_photo(photo, PICTURE_SIDE, self._stored_side, self._fit)
        seen = Explanation(view.picture, view.overlaid(heat))
        if self._training is None:
            return seen
        features = np.asarray(self._classifier.features(pixels), np.float32)
        return dataclasses.replace(seen, nearest=self._training.nearest(features))
