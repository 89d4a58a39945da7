"""Class activation maps: which places of an image speak for a class, and which for another.

The classifiers end with global average pooling and a linear head, so a logit is the mean, over the pixels of the last
feature maps, of the head applied at each pixel (Zhou et al., *Learning Deep Features for Discriminative Localization*,
CVPR 2016). The map is therefore an exact decomposition of the logit and needs no gradients. Grad-CAM (Selvaraju et al.,
ICCV 2017) and HiResCAM (Draelos and Carin, arXiv 2011.08891) reduce to it for these networks; Grad-CAM then drops the
negative half.

Heads that are not linear (``models.heads``) are an affine function at the features of any single image, and the map is
that function applied at each pixel. It still adds up to the logit, but its factors depend on the whole image.

A single class's map is not determined by the classifier: adding the same weights to every class changes the maps, but
no probability. The difference between the maps of two classes is determined, and its mean is the logarithm of their
odds. So a map here always compares two classes.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.ensemble import Network, members_of
from chimeramix_jax.models.heads import contributions
from chimeramix_jax.models.layers import mean_over_pixels


def contrast_maps(
    classifier: Classifier,
    images: Float[Array, "batch side side 3"],
    classes: Int[Array, "batch"],
    rivals: Int[Array, "batch"],
) -> Float[Array, "batch map_height map_width"]:
    """Returns what each place contributes to an image's class against a rival class, in nats.

    Args:
        classifier: in evaluation mode.
        images: in [-1, 1].
        classes: a class of every image; positive values speak for it.
        rivals: another class of every image; negative values speak for it.

    Returns:
        Maps whose mean is ``log(p(class) / p(rival))``, the difference of the logits. They include the head's biases,
        spread evenly. Those of an ensemble are the means of its members' maps.
    """
    maps = [_contrast_maps(network, images, classes, rivals) for network in members_of(classifier)]
    return maps[0] if len(maps) == 1 else jnp.mean(jnp.stack(maps), axis=0)


def _contrast_maps(
    network: Network,
    images: Float[Array, "batch side side 3"],
    classes: Int[Array, "batch"],
    rivals: Int[Array, "batch"],
) -> Float[Array, "batch map_height map_width"]:
    maps = network.feature_maps(images)
    maps = maps.astype(jnp.promote_types(maps.dtype, jnp.float32))
    features = mean_over_pixels(maps)
    (weights, biases), (of_rivals, rival_biases) = (
        contributions(network.head, features, of_images) for of_images in (classes, rivals)
    )
    return jnp.einsum("bhwc,cb->bhw", maps, weights - of_rivals) + (biases - rival_biases)[:, None, None]
