"""ChimeraMix in JAX: image classification on small data sets by masked feature mixing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chimeramix_jax.runs.restore import class_names, restore_classifier, restore_discriminator, restore_generator
    from chimeramix_jax.use.generation import generate
    from chimeramix_jax.use.prediction import predict
    from chimeramix_jax.workflow.one_run import train_and_evaluate
    from chimeramix_jax.workflow.several_seeds import train_and_evaluate_seeds

_HOMES = {
    "class_names": "runs.restore",
    "generate": "use.generation",
    "predict": "use.prediction",
    "restore_classifier": "runs.restore",
    "restore_discriminator": "runs.restore",
    "restore_generator": "runs.restore",
    "train_and_evaluate": "workflow.one_run",
    "train_and_evaluate_seeds": "workflow.several_seeds",
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
