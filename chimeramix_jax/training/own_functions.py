"""Checks that own augmentations, masks, networks and losses return what is needed, before anything is compiled.

JAX traces them with the shapes that a run would give them, so nothing is computed.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import lookup, registry
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.training.networks import build_classifier

_CLASSES = 3  # for networks and losses; how many there are is known only when the data are loaded
_IMAGES = 2  # for networks
_KEY = partial(jax.eval_shape, lambda: jax.random.key(0))  # without computing one


def check(config: ConfigDict) -> None:
    """Raises InputError, with file and line, if a custom function that the settings name returns something else.

    Shapes and types are checked, not values.
    """
    if config.augment.own:
        _check_augmentation(config)
    if config.mixing.mask_code:
        _check_mask(config)
    if config.classifier.model_code:
        _check_network(config)
    if config.classifier.loss_code:
        _check_loss(config)


def _check_augmentation(config: ConfigDict) -> None:
    side, batch = config.classifier.image_side, config.classifier.batch_size
    images = jax.ShapeDtypeStruct((batch, side, side, 3), jnp.float32)
    named = registry.AUGMENTATION, config.augment.own, config.augment.own_code
    returned = _traced(named, _KEY(), images)
    _require(named, returned, {(images.shape, "float32")}, "as it gets them")


def _check_mask(config: ConfigDict) -> None:
    side = config.generator.image_side
    side = Generator.features_side(side) if settings.needs_generator(config) else side
    batch = config.classifier.batch_size
    named = registry.MASK, config.mixing.mask, config.mixing.mask_code
    for images in sorted({config.mixing.images, config.generator.images}):
        returned = _traced(named, _KEY(), batch, side, images)
        owners, weights = ((batch, side, side), "int32"), ((images, batch, side, side, 1), "float32")
        _require(named, returned, {owners, weights}, f"with the numbers of images from 0 to {images - 1}, or weights")


def _check_network(config: ConfigDict) -> None:
    named = registry.NETWORK, config.classifier.model, config.classifier.model_code
    network = nnx.eval_shape(lambda: build_classifier(config, _CLASSES, nnx.Rngs(0)))
    wrong = f"{lookup.place_of(*named)}: network {named[1]!r}"
    head = getattr(network, "head", None)
    if not (isinstance(head, nnx.Linear) and head.out_features == _CLASSES and head.bias is not None):
        what = f"{type(head).__name__} of {getattr(head, 'out_features', 'no')} outputs"
        raise InputError(
            f"{wrong}: its head is {what}; for {_CLASSES} classes it must be nnx.Linear(channels, {_CLASSES})"
        )
    kinds = {type(variable) for _, variable in nnx.iter_graph(network) if isinstance(variable, nnx.Variable)}
    other = sorted(kind.__name__ for kind in kinds if not issubclass(kind, nnx.Param | nnx.BatchStat))
    if other:
        raise InputError(
            f"{wrong}: has variables of type {', '.join(other)}; it may have nnx.Param and nnx.BatchStat alone, and "
            "dropout takes its random numbers from dropout_key"
        )
    full_side = config.classifier.image_side
    smaller = [side for side, _ in settings.parse_growing_sides(config.classifier.growing_sides, full_side)]
    for mode in (nnx.Module.train, nnx.Module.eval):
        mode(network)
        for side in (*smaller, full_side):
            _check_feature_maps(named, *nnx.split(network), side, head.in_features)


def _check_feature_maps(
    named: tuple[str, str, str], graph: nnx.GraphDef[Any], state: Any, side: int, channels: int
) -> None:
    """Raises InputError unless a custom network's feature maps have as many channels as its head has inputs."""
    images = jax.ShapeDtypeStruct((_IMAGES, side, side, 3), jnp.float32)
    mask = jax.ShapeDtypeStruct((_IMAGES,), jnp.bool_)

    def feature_maps(state: Any, images: Any, mask: Any, key: Any) -> Any:
        return nnx.merge(graph, state).feature_maps(images, example_mask=mask, dropout_key=key)

    with lookup.failures_named(*named):
        maps = jax.eval_shape(feature_maps, state, images, mask, _KEY())
    shape = tuple(getattr(maps, "shape", ()))
    if len(shape) != 4 or shape[0] != _IMAGES or shape[3] != channels:
        raise InputError(
            f"{lookup.place_of(*named)}: network {named[1]!r}: for {_IMAGES} images of {side}x{side} pixels its "
            f"feature_maps have the shape {shape or type(maps).__name__}; it must be ({_IMAGES}, height, width, "
            f"{channels}), as its head has {channels} inputs"
        )


def _check_loss(config: ConfigDict) -> None:
    batch = config.classifier.batch_size
    logits = jax.ShapeDtypeStruct((batch, _CLASSES), jnp.float32)
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
    named = registry.LOSS, config.classifier.loss, config.classifier.loss_code
    _require(named, _traced(named, logits, labels), {((batch,), "float32")}, "the loss of each image")


def _traced(named: tuple[str, str, str], *arguments: Any) -> Any:
    """Returns shape and type of what a registered function returns; numbers among the arguments stay as they are."""
    function = lookup.find(*named)
    traced = [place for place, argument in enumerate(arguments) if not isinstance(argument, int)]

    def call(*values: Any) -> Any:
        given = list(arguments)
        for place, value in zip(traced, values, strict=True):
            given[place] = value
        return function(*given)

    with lookup.failures_named(*named):
        return jax.eval_shape(call, *(arguments[place] for place in traced))


def _require(
    named: tuple[str, str, str], returned: Any, allowed: set[tuple[tuple[int, ...], str]], meaning: str
) -> None:
    """Raises InputError unless what a function returns has one of some shapes and types."""
    is_array = hasattr(returned, "shape") and hasattr(returned, "dtype")
    if is_array and (tuple(returned.shape), str(returned.dtype)) in allowed:
        return
    came = f"{returned.dtype} of shape {tuple(returned.shape)}" if is_array else f"a {type(returned).__name__}"
    needed = " or ".join(f"{kind} of shape {shape}" for shape, kind in sorted(allowed, key=str))
    raise InputError(
        f"{lookup.place_of(*named)}: {named[0]} {named[1]!r} returns {came}; it must be {needed}: {meaning}"
    )
