"""ChimeraMix in JAX: image classification on small data sets by masked feature mixing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chimeramix_jax.runs.restore import class_names, restore_classifier, restore_discriminator, restore_generator
    from chimeramix_jax.runs.run import train_and_evaluate
    from chimeramix_jax.runs.several_seeds import train_and_evaluate_seeds
    from chimeramix_jax.use.generation import generate
    from chimeramix_jax.use.prediction import predict

_HOMES = {
    "class_names": "restore",
    "generate": "generation",
    "predict": "prediction",
    "restore_classifier": "restore",
    "restore_discriminator": "restore",
    "restore_generator": "restore",
    "train_and_evaluate": "run",
    "train_and_evaluate_seeds": "several_seeds",
}
__all__ = [
    "class_names",
    "generate",
    "predict",
    "restore_classifier",
    "restore_discriminator",
    "restore_generator",
    "train_and_evaluate",
    "train_and_evaluate_seeds",
]


def __getattr__(name: str):
    """Imports a public function when it is first used, so that importing the package does not load JAX.

    By then XLA is told what the command line tells it, so that on CPU both compute the same bits.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from chimeramix_jax.runtime import xla_flags

    xla_flags.keep_convolutions_from_ynnpack()
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
