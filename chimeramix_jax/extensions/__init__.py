"""Registers own ideas: experiments, augmentations, masks, networks, losses and data sets, by names used in settings.

A file that is given as ``--config``, a file that it imports, or an installed package registers them when it is
imported (docs/own_ideas.md). Settings record the digest of the code that they use, and a run keeps a copy of the file.

This package knows names, files and digests only. What a registered function must return is checked where it is used.
Importing it does not load JAX.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from chimeramix_jax.extensions.registry import (
    AUGMENTATION,
    DATASET,
    EXPERIMENT,
    LOSS,
    MASK,
    NETWORK,
    Experiment,
    register,
)

Registered = TypeVar("Registered")


class Arrays(NamedTuple):
    """What the function of a custom data set returns.

    Images are uint8 from 0 to 255, of shape (images, height, width, 3), or (images, height, width) if they are grey.
    Labels are whole numbers from 0, one for each image. Without test images, a share of each class is held out.
    """

    class_names: Any  # one for each label, in order
    train_images: Any
    train_labels: Any
    test_images: Any = None
    test_labels: Any = None


def experiment(name: str, settings: Mapping[str, Any], *, config: str = "digits") -> None:
    """Registers an experiment: the settings that it changes, with dotted keys such as ``"mixing.mask"``.

    ``config`` is the config file whose settings it changes, if its own file has no ``get_config``.
    """
    register(EXPERIMENT, name, Experiment(dict(settings), config))


def augmentation(name: str) -> Callable[[Registered], Registered]:
    """Registers ``function(key, images)``, which returns changed images, for ``augment.own``.

    ``images`` are float32 in [-1, 1], of shape (batch, side, side, 3), as the classifier would see them otherwise.
    """
    return _registering(AUGMENTATION, name)


def mask(name: str) -> Callable[[Registered], Registered]:
    """Registers ``function(key, batch_size, side, images)``, which draws how images are mixed, for ``mixing.mask``.

    It returns the number of the image that each position is taken from, from 0 to ``images`` - 1, as integers of shape
    (batch_size, side, side); or weights, as float32 of shape (images, batch_size, side, side, 1), that add up to 1 over
    the images.
    """
    return _registering(MASK, name)


def network(name: str) -> Callable[[Registered], Registered]:
    """Registers ``build(num_classes, *, dropout_rate, dtype, rngs)``, which builds a network, for ``classifier.model``.

    It may be a class, and must return a ``chimeramix_jax.models.pooled.PooledClassifier``.
    """
    return _registering(NETWORK, name)


def loss(name: str) -> Callable[[Registered], Registered]:
    """Registers ``function(logits, labels)``, which returns the loss of each image, for ``classifier.loss``.

    ``logits`` are float32 of shape (batch, classes), ``labels`` integers of shape (batch,). The losses must be float32,
    of shape (batch,).
    """
    return _registering(LOSS, name)


def dataset(name: str) -> Callable[[Registered], Registered]:
    """Registers ``function()``, which returns ``Arrays``, for ``dataset.name``."""
    return _registering(DATASET, name)


def _registering(kind: str, name: str) -> Callable[[Registered], Registered]:
    """Returns a decorator that registers a function and returns it unchanged."""

    def decorate(function: Registered) -> Registered:
        register(kind, name, function)
        return function

    return decorate
