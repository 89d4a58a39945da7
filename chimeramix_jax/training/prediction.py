"""Prediction with a trained classifier: logits and features of images, as pure functions of its variables."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree, UInt8

from chimeramix_jax.augment import geometry
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.ensemble import averaged_logits, members_of
from chimeramix_jax.models.layers import mean_over_pixels
from chimeramix_jax.training.evaluation_views import ONLY_THE_IMAGE, EvaluationViews


def predict(
    classifier: nnx.GraphDef[Classifier],
    parameters: PyTree,
    statistics: PyTree,
    images: UInt8[Array, "batch side side 3"],
    views: EvaluationViews = ONLY_THE_IMAGE,
) -> Float[Array, "batch classes"]:
    """Returns the logits of images in 0..255, by a classifier in evaluation mode; see ``predict_with_features``."""
    return predict_with_features(classifier, parameters, statistics, images, views)[0]


def predict_with_features(
    classifier: nnx.GraphDef[Classifier],
    parameters: PyTree,
    statistics: PyTree,
    images: UInt8[Array, "batch side side 3"],
    views: EvaluationViews = ONLY_THE_IMAGE,
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch channels"]]:
    """Returns the logits of images in 0..255, and the features that the head computes them from.

    Features are the means of the last feature maps; those of an ensemble are its members', one after the other. With
    more than one view or member, the class probabilities of all views and members are averaged. Their logarithms are
    returned, which are logits of these averages; the features are still those of the image itself.
    """
    seen, logits, features = list(views(geometry.normalize(images))), [], []
    for network in members_of(nnx.merge(classifier, parameters, statistics)):
        of_views = [mean_over_pixels(network.feature_maps(view)) for view in seen]
        logits += [network.head(of_view) for of_view in of_views]
        features.append(of_views[0])
    return averaged_logits(logits), features[0] if len(features) == 1 else jnp.concatenate(features, axis=1)
