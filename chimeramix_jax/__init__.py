"""ChimeraMix in JAX: image classification on small data sets by masked feature mixing."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chimeramix_jax.auto.final import choose_and_train as choose_and_train
    from chimeramix_jax.runs.restore import class_names as class_names
    from chimeramix_jax.runs.restore import restore_classifier as restore_classifier
    from chimeramix_jax.runs.restore import restore_discriminator as restore_discriminator
    from chimeramix_jax.runs.restore import restore_generator as restore_generator
    from chimeramix_jax.use.export import export as export
    from chimeramix_jax.use.generation import generate as generate
    from chimeramix_jax.use.prediction import Predictor as Predictor
    from chimeramix_jax.use.prediction import predict as predict
    from chimeramix_jax.use.prediction_formats import Prediction as Prediction
    from chimeramix_jax.workflow.data_check import check_data as check_data
    from chimeramix_jax.workflow.one_run import train_and_evaluate as train_and_evaluate
    from chimeramix_jax.workflow.several_seeds import train_and_evaluate_seeds as train_and_evaluate_seeds
    from chimeramix_jax.workflow.update import update as update

_HOMES = {
    "Prediction": "use.prediction_formats",
    "Predictor": "use.prediction",
    "check_data": "workflow.data_check",
    "choose_and_train": "auto.final",
    "class_names": "runs.restore",
    "export": "use.export",
    "generate": "use.generation",
    "predict": "use.prediction",
    "restore_classifier": "runs.restore",
    "restore_discriminator": "runs.restore",
    "restore_generator": "runs.restore",
    "train_and_evaluate": "workflow.one_run",
    "train_and_evaluate_seeds": "workflow.several_seeds",
    "update": "workflow.update",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public function or class when it is first used, so that importing the package does not load JAX.

    First sets the XLA flags that the command line sets, so that on CPU both compute the same bits.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chimeramix_jax.runtime import xla_flags

    xla_flags.keep_convolutions_from_ynnpack()
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Lists the public names, too, so that they can be completed before they are imported."""
    return sorted({*globals(), *__all__})
