"""SavedModels: TensorFlow's format, a folder, written with ``jax2tf``."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from jax.experimental import jax2tf

from chimeramix_jax.use.export.checking import Runner
from chimeramix_jax.use.export.program import Program

METADATA = Path("assets.extra") / "metadata.json"  # where TensorFlow expects files that are not its own
INPUT, OUTPUT = "images", "probabilities"

_PLATFORMS = ("cpu", "cuda", "tpu")  # that TensorFlow knows


def write(program: Program, folder: Path) -> None:
    """Fills a folder; its only signature takes ``images`` and returns ``probabilities``."""
    classify = jax2tf.convert(
        program.of_any_images,
        polymorphic_shapes=["(batch, height, width, 3)"],
        with_gradient=False,
        native_serialization_platforms=_PLATFORMS,
    )
    images = tf.TensorSpec([None, None, None, 3], tf.uint8, INPUT)
    module = tf.Module()
    module.classify = tf.function(lambda images: {OUTPUT: classify(images)}, autograph=False, input_signature=[images])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.classify})
    path = folder / METADATA
    path.parent.mkdir()
    path.write_text(json.dumps(program.metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def runner(folder: Path) -> Runner:
    """Returns a function that classifies images with the SavedModel in a folder."""
    classify = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return lambda images: np.asarray(classify(**{INPUT: tf.constant(images)})[OUTPUT])
