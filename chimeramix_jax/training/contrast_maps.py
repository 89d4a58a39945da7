"""Maps of what speaks for one class of an image against another, computed with a trained classifier."""

from functools import partial

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree, UInt8

from chimeramix_jax.augment import geometry
from chimeramix_jax.models.class_activation import contrast_maps
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training.networks import parameters_and_statistics


class ContrastMaps:
    """Computes which places of an image speak for a class and which for a rival, at the classifier's temperature."""

    def __init__(self, network: Classifier, precision: str, temperature: float):
        """Prepares for images that ``network`` classifies; nothing is compiled before the first batch."""
        self._graph: nnx.GraphDef[Classifier] = nnx.graphdef(network)
        self._weights = parameters_and_statistics(network)
        self._precision, self._temperature = precision, temperature

    def __call__(
        self,
        pixels: UInt8[np.ndarray, "batch side side 3"],
        classes: Int[np.ndarray, "batch"],
        rivals: Int[np.ndarray, "batch"],
    ) -> Float[np.ndarray, "batch map_height map_width"]:
        """Returns the maps of a batch, which is as the network sees it; see ``models.class_activation``."""
        with computing(self._precision):
            maps = np.asarray(_compiled_maps(self._graph, *self._weights, pixels, classes, rivals), np.float32)
        return maps / np.float32(self._temperature)  # so that they still add up to the log odds


@partial(jax.jit, static_argnums=0)
def _compiled_maps(
    graph: nnx.GraphDef[Classifier],
    parameters: PyTree,
    statistics: PyTree,
    images: UInt8[Array, "batch side side 3"],
    classes: Int[Array, "batch"],
    rivals: Int[Array, "batch"],
) -> Float[Array, "batch map_height map_width"]:
    return contrast_maps(nnx.merge(graph, parameters, statistics), geometry.normalize(images), classes, rivals)
