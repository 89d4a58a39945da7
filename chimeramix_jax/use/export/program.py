"""The whole path from an image to its class probabilities as a JAX function, with the weights inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export
from jaxtyping import Array, Float, UInt8

from chimeramix_jax.config.rules import Fit
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.training.evaluation_views import ONLY_THE_IMAGE, EvaluationViews
from chimeramix_jax.training.networks import parameters_and_statistics
from chimeramix_jax.training.prediction import predict
from chimeramix_jax.use.export.squaring import squared

Probabilities = Float[Array, "batch classes"]

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # that an exported program runs on


@dataclass(frozen=True)
class Program:
    """A classifier with everything that turns an image into its probabilities, and its description."""

    network: Classifier  # in evaluation mode; computes in float32
    sides: Sequence[int]  # to which images are resized one after the other; the last is the classifier's
    half: bool  # whether to store the weights in float16
    metadata: Mapping[str, Any]  # in JSON's types
    views: EvaluationViews = ONLY_THE_IMAGE  # of every image, over which probabilities are averaged
    temperature: float = 1.0  # by which the logits are divided, also those of averaged probabilities
    fit: Fit = "crop"  # how images that are not square become squares

    @property
    def squares(self) -> list[tuple[int, Fit]]:
        """The sides to which images are resized, and how they are fitted; after the first, they are squares already."""
        first, *others = self.sides
        return [(first, self.fit), *((side, "stretch") for side in others)]

    def of_any_images(self, images: UInt8[Array, "batch height width 3"]) -> Probabilities:
        """Returns the probabilities for images in 0..255 of any size."""
        for side, fit in self.squares:
            images = squared(images, side, fit)
        return of_squares(self.network, images, half=self.half, views=self.views, temperature=self.temperature)

    def exported(self) -> export.Exported:
        """Lowers the program to StableHLO, for any number of images, height and width."""
        batch, height, width = export.symbolic_shape("batch, height, width")
        images = jax.ShapeDtypeStruct((batch, height, width, 3), jnp.uint8)
        return export.export(jax.jit(self.of_any_images), platforms=PLATFORMS)(images)


def of_squares(
    network: Classifier,
    images: UInt8[Array, "batch side side 3"],
    *,
    half: bool = False,
    views: EvaluationViews = ONLY_THE_IMAGE,
    temperature: float = 1.0,
) -> Probabilities:
    """Returns the probabilities for images in 0..255 at the classifier's side, at a temperature; can be compiled.

    With ``half``, the weights, which are constants of the compiled program, are stored in float16.
    """
    weights = parameters_and_statistics(network)
    stored = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16 if half else np.float32), weights)
    with jax.default_matmul_precision("float32"):
        parameters, statistics = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(jnp.float32), stored)
        logits = predict(nnx.graphdef(network), parameters, statistics, images, views)
        return jax.nn.softmax(logits / temperature)
