"""Builds classifiers by the names used in ``classifier.model``."""

from typing import Any

from flax import nnx
from jax.typing import DTypeLike

from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import lookup, registry
from chimeramix_jax.models.ensemble import Ensemble, Network
from chimeramix_jax.models.heads import LINEAR, HeadKind
from chimeramix_jax.models.names import PATTERNS, RESNET, WideResNetName
from chimeramix_jax.models.pooled import PooledClassifier
from chimeramix_jax.models.resnet import RESNET_50, ResNet
from chimeramix_jax.models.wide_resnet import WideResNet

Classifier = Network | Ensemble


def build(
    model_name: str,
    num_classes: int,
    *,
    dropout_rate: float = 0.0,
    harmonic: bool = False,
    head: HeadKind = LINEAR,
    dtype: DTypeLike | None = None,
    rngs: nnx.Rngs,
    code: str = "",
) -> Network:
    """Returns a newly initialized network in training mode.

    Args:
        model_name: "wrn-<depth>-<width>", such as "wrn-16-8", the same with "-early" at its end, or "resnet-50".
        num_classes: the number of logits.
        dropout_rate: between the convolutions of a wide ResNet's blocks. ResNet-50 has no dropout and ignores it.
        harmonic: whether convolutions are combinations of fixed filters (``models.harmonic``).
        head: what turns features into logits.
        dtype: the dtype of the computation; None: that of the parameters, float32.
        rngs: the source of the initial parameters.
        code: that of a custom network of this name, as settings record it; "": none is meant.

    Raises:
        ValueError: there is no classifier of that name.
        InputError: the code of a custom network is not at hand.
    """
    if code:
        return _own(model_name, code, num_classes, dropout_rate=dropout_rate, dtype=dtype, rngs=rngs)
    if model_name == RESNET:
        return ResNet(RESNET_50, num_classes, harmonic=harmonic, head=head, dtype=dtype, rngs=rngs)
    wide = WideResNetName.parse(model_name)
    if wide is None:
        raise ValueError(f"unknown classifier {model_name!r}; it must be {PATTERNS}")
    return WideResNet(
        wide.depth,
        wide.width,
        num_classes,
        early=wide.early,
        harmonic=harmonic,
        dropout_rate=dropout_rate,
        head=head,
        dtype=dtype,
        rngs=rngs,
    )


def _own(name: str, code: str, num_classes: int, **arguments: Any) -> PooledClassifier:
    """Builds a custom network; raises InputError if it cannot be built or is not of the right class."""
    build_own = lookup.find(registry.NETWORK, name, code)
    with lookup.failures_named(registry.NETWORK, name, code):
        network = build_own(num_classes, **arguments)
    if not isinstance(network, PooledClassifier):
        raise InputError(
            f"{lookup.place_of(registry.NETWORK, name, code)}: network {name!r} is a {type(network).__name__}; it must "
            "be a PooledClassifier (chimeramix_jax.models.pooled)"
        )
    return network
