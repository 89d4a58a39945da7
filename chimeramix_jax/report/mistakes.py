"""The misclassified images with the highest loss: each with its heat map and the training images nearest to it."""

from dataclasses import dataclass

from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.identity import HELD_OUT, TRAIN
from chimeramix_jax.data.photo_views import PICTURE_SIDE
from chimeramix_jax.paths import printable
from chimeramix_jax.report import embedding, photos
from chimeramix_jax.runs.held_out import HeldOutPredictions
from chimeramix_jax.runs.nearest import Neighbours


@dataclass(frozen=True)
class Neighbour:
    """A training image near another image."""

    picture: str  # a data URI
    name: str  # its file, or its place in the data set
    class_name: str
    similarity: float  # the cosine of the angle between the two images' features


@dataclass(frozen=True)
class Mistake:
    """A misclassified image, ready for the page."""

    name: str  # its file, or its place in the data set
    true: str
    predicted: str
    probability: float  # of the predicted class
    true_probability: float
    loss: float  # in nats
    picture: str  # a data URI
    overlay: str  # the picture in grey, orange where it speaks for the predicted class and blue for the true one
    neighbours: list[Neighbour]  # the nearest first


@dataclass(frozen=True)
class Mistakes:
    """The section about mistakes."""

    shown: list[Mistake]  # those with the highest loss, the highest first
    count: int  # all of them
    examples: int  # the held-out images
    padded: bool  # whether the classifier saw the photos on grey, which the pictures leave out


def prepare(predictions: HeldOutPredictions, dataset: FewShotDataset) -> Mistakes:
    """Prepares the section, with a row for each image that has a map."""
    positions = predictions.mistakes().tolist()
    shown = [_mistake(position, predictions, dataset) for position in positions if position in predictions.maps]
    return Mistakes(shown, len(positions), len(predictions.labels), padded=dataset.fit == "pad")


def _mistake(position: int, predictions: HeldOutPredictions, dataset: FewShotDataset) -> Mistake:
    names, view = dataset.class_names, photos.view(dataset, HELD_OUT, position, PICTURE_SIDE)
    return Mistake(
        printable(dataset.held_out.names[position]),
        names[predictions.labels[position]],
        names[predictions.predicted[position]],
        float(predictions.probabilities[position]),
        float(predictions.true_probabilities[position]),
        float(predictions.losses[position]),
        embedding.picture_uri(view.picture),
        embedding.picture_uri(view.overlaid(predictions.maps[position])),
        neighbours(dataset, predictions.nearest, position),
    )


def neighbours(dataset: FewShotDataset, nearest: Neighbours, query: int) -> list[Neighbour]:
    """Returns the training images nearest to a query, ready for a page.

    ``nearest`` has positions in the training set, by query.
    """
    pairs = zip(nearest.indices[query].tolist(), nearest.similarities[query].tolist(), strict=True)
    return [
        Neighbour(
            embedding.picture_uri(photos.view(dataset, TRAIN, position, embedding.THUMBNAIL_SIDE).picture),
            printable(dataset.train.names[position]),
            dataset.class_names[dataset.train.labels[position]],
            similarity,
        )
        for position, similarity in pairs
    ]
