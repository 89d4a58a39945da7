"""ChimeraMix in JAX: image classification on small data sets by masked feature mixing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chimeramix_jax.runs.restore import class_names, restore_classifier, restore_discriminator, restore_generator
    from chimeramix_jax.runs.run import train_and_evaluate
    from chimeramix_jax.runs.several_seeds import train_and_evaluate_seeds
    from chimeramix_jax.use.generation import generate
    from chimeramix_jax.use.prediction import predict

_HOMES = {
    "class_names": "runs.restore",
    "generate": "use.generation",
    "predict": "use.prediction",
    "restore_classifier": "runs.restore",
    "restore_discriminator": "runs.restore",
    "restore_generator": "runs.restore",
    "train_and_evaluate": "runs.run",
    "train_and_evaluate_seeds": "runs.several_seeds",
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

    First sets the XLA flags that the command line sets, so that on CPU both compute the same bits.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from chimeramix_jax.runtime import xla_flags

    xla_flags.keep_convolutions_from_ynnpack()
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
