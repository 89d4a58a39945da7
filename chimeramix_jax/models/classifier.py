"""The classifiers by the names that a config gives them."""

import re

import jax.numpy as jnp
from flax import nnx

from chimeramix_jax.models.resnet import RESNET_50, ResNet
from chimeramix_jax.models.wide_resnet import WideResNet

Classifier = WideResNet | ResNet


def build(
    model_name: str,
    num_classes: int,
    *,
    dropout_rate: float = 0.0,
    dtype: jnp.dtype | None = None,
    rngs: nnx.Rngs,
) -> Classifier:
    """A freshly drawn classifier, in training mode.

    Args:
        model_name: "wrn-<depth>-<width>", as "wrn-16-8", or "resnet-50".
        num_classes: how many logits it gives.
        dropout_rate: between the convolutions of a wide ResNet's blocks; a ResNet-50 has no dropout and ignores it.
        dtype: what it computes in; None for its parameters' type, float32.
        rngs: where the parameters are drawn from.

    Raises:
        ValueError: there is no such classifier.
    """
    if model_name == "resnet-50":
        return ResNet(RESNET_50, num_classes, dtype=dtype, rngs=rngs)
    wide = re.fullmatch(r"wrn-(\d+)-(\d+)", model_name)
    if wide is None:
        raise ValueError(f"no classifier is called {model_name!r}; there are wrn-<depth>-<width> and resnet-50")
    return WideResNet(int(wide[1]), int(wide[2]), num_classes, dropout_rate=dropout_rate, dtype=dtype, rngs=rngs)
