"""Builds classifiers by the names used in ``classifier.model``."""

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
    """Returns a newly initialized classifier in training mode.

    Args:
        model_name: "wrn-<depth>-<width>", such as "wrn-16-8", or "resnet-50".
        num_classes: the number of logits.
        dropout_rate: between the convolutions of a wide ResNet's blocks. ResNet-50 has no dropout and ignores it.
        dtype: the dtype of the computation; None: that of the parameters, float32.
        rngs: the source of the initial parameters.

    Raises:
        ValueError: there is no classifier of that name.
    """
    if model_name == "resnet-50":
        return ResNet(RESNET_50, num_classes, dtype=dtype, rngs=rngs)
    wide = re.fullmatch(r"wrn-(\d+)-(\d+)", model_name)
    if wide is None:
        raise ValueError(f"unknown classifier {model_name!r}; it must be wrn-<depth>-<width> or resnet-50")
    return WideResNet(int(wide[1]), int(wide[2]), num_classes, dropout_rate=dropout_rate, dtype=dtype, rngs=rngs)
