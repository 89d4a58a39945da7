"""Prediction with a trained classifier: as pure functions of its variables, and compiled."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.augment import geometry
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.ensemble import averaged_logits, members_of
from chimeramix_jax.models.layers import mean_over_pixels
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training.evaluation_views import ONLY_THE_IMAGE, EvaluationViews
from chimeramix_jax.training.networks import parameters_and_statistics

Images = UInt8[Array | np.ndarray, "batch side side 3"]


class CompiledClassifier:
    """A trained classifier that predicts with compiled programs, which classifiers of the same structure share.

    A new size of batch is compiled when it is first needed. Images are in 0..255, at the classifier's side.
    """

    def __init__(self, network: Classifier, config: ConfigDict):
        """Prepares a network in evaluation mode, to predict with the views and the precision of its run's settings."""
        self._graph: nnx.GraphDef[Classifier] = nnx.graphdef(network)
        self._weights = parameters_and_statistics(network)
        self._views, self._precision = EvaluationViews.of(config), config.precision

    def logits(self, images: Images) -> Float[Array, "batch classes"]:
        """Returns the logits; with several views or members, the logarithms of the averaged probabilities."""
        with computing(self._precision):
            return _compiled_logits(self._graph, *self._weights, images, self._views)

    def probabilities(self, images: Images, temperature: float) -> Float[Array, "batch classes"]:
        """Returns the probabilities of all classes at a temperature, by which the logits are divided."""
        with computing(self._precision):
            return _compiled_probabilities(self._graph, *self._weights, images, self._views, temperature)

    def features(self, images: Images) -> Float[Array, "batch channels"]:
        """Returns the features of the images themselves, without other views; see ``predict_with_features``."""
        with computing(self._precision):
            return _compiled_features(self._graph, *self._weights, images)


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


def _probabilities(
    classifier: nnx.GraphDef[Classifier],
    parameters: PyTree,
    statistics: PyTree,
    images: UInt8[Array, "batch side side 3"],
    views: EvaluationViews,
    temperature: float,
) -> Float[Array, "batch classes"]:
    logits = predict(classifier, parameters, statistics, images, views)
    return jax.nn.softmax(logits.astype(jnp.float32) / temperature)


def _features(
    classifier: nnx.GraphDef[Classifier],
    parameters: PyTree,
    statistics: PyTree,
    images: UInt8[Array, "batch side side 3"],
) -> Float[Array, "batch channels"]:
    return predict_with_features(classifier, parameters, statistics, images)[1]


_compiled_logits = jax.jit(predict, static_argnums=(0, 4))
_compiled_probabilities = jax.jit(_probabilities, static_argnums=(0, 4, 5))
_compiled_features = jax.jit(_features, static_argnums=0)
