"""Our side of the speed comparison: the training stages, run by training's own loop."""

import itertools
import platform
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from benchmarks.presets import DROPOUT_RATE, NUM_CLASSES, RESIDUAL_BLOCKS, Preset, Request
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.config import defaults
from chimeramix_jax.data.sampling import EpochPlan, ResidentData, to_device
from chimeramix_jax.runtime.precision import computation_dtype
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.epochs import EpochRunner, shared_key
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.execution import OneDevice
from chimeramix_jax.training.generator import GeneratorStage
from chimeramix_jax.training.networks import build_generator
from chimeramix_jax.training.stage_data import StageData


class Ours:
    """Runs rounds of one epoch each: a single compiled call on a GPU, and a call for every step on CPU."""

    def __init__(self, request: Request):
        """Draws the networks; the first round compiles.

        Raises:
            RuntimeError: a GPU is requested and there is none.
        """
        self._platform = jax.default_backend()
        if request.device == "gpu" and self._platform != "gpu":
            raise RuntimeError("JAX sees no GPU; --device=cpu compares on the CPU")
        self.steps = request.steps_on(self._platform)
        config = configured(request.preset)
        self._precision = "float32" if computation_dtype(config.precision) is None else "bfloat16"
        self._stage = stage(request.preset, config, self.steps)
        self._runner = EpochRunner(self._stage)
        # Bound to its device as in training; otherwise the second step would be compiled again.
        state = OneDevice().place(jax.jit(self._stage.initial_state)(jax.random.key(0, impl="rbg")))
        self._state = jax.block_until_ready(state)
        self._epochs: Iterator[int] = itertools.count()
        if isinstance(self._stage, ClassifierStage):
            self._epochs = epochs_with(self._stage, self.steps, request.mixed_steps(self.steps))
        self._epoch = 0

    def about(self) -> dict[str, Any]:
        """Returns the device, the number format and the versions."""
        return {
            "platform": self._platform,
            "device": jax.devices()[0].device_kind,
            "precision": self._precision,
            "versions": {"jax": jax.__version__, "python": platform.python_version()},
        }

    def prepare(self) -> None:
        """Finds the next epoch, which for a classifier means to toss the coins of several."""
        self._epoch = next(self._epochs)

    def round(self) -> None:
        """Runs an epoch and waits for its end."""
        progress = self._runner.begin(self._state, self._epoch, jax.random.key(self._epoch))
        while not self._runner.is_over(progress):
            call = self._runner.call(progress)
            progress = self._runner.after(call, call.run())
        self._state = progress.carry.state

    def afterwards(self) -> dict[str, Any]:
        """Returns the device's peak memory, if known, and XLA's count of operations in a compiled step."""
        statistics = jax.devices()[0].memory_stats() or {}
        step = jax.jit(self._stage.train_step, donate_argnums=0)
        indices = jnp.zeros(self._stage.plan.batch_size, jnp.int32)
        compiled = step.lower(self._state, self._stage.inputs, indices, None, *(2 * [jax.random.key(0)])).compile()
        analysis = compiled.cost_analysis() or {}
        return {"peak_bytes": statistics.get("peak_bytes_in_use"), "xla_flops": analysis.get("flops")}


def epochs_with(stage: ClassifierStage, steps: int, mixed: int) -> Iterator[int]:
    """Yields the numbers of epochs in which training's coins mix exactly ``mixed`` of the first ``steps`` batches."""

    @jax.jit
    def coins(epoch):
        return jax.vmap(lambda step: stage.batches.is_mixed(shared_key(epoch, step)))(jnp.arange(steps))

    return (epoch for epoch in itertools.count() if int(jnp.sum(coins(epoch))) == mixed)


def configured(preset: Preset) -> ConfigDict:
    """Returns the settings that all data sets share, with the preset's sizes."""
    config = defaults.get_config()
    config.precision = preset.precision
    config.generator.image_side = preset.generator_side
    config.generator.channels = config.generator.discriminator_channels = preset.channels
    config.generator.residual_blocks = RESIDUAL_BLOCKS
    config.generator.decoder_residual_blocks = preset.decoder_residual_blocks
    config.classifier.image_side = preset.classifier_side
    config.classifier.model = f"wrn-{preset.depth}-{preset.width}"
    config.classifier.dropout_rate = DROPOUT_RATE
    config.mixing.probability = preset.mixing_probability
    config[preset.stage].batch_size = preset.batch_size
    return config


def stage(preset: Preset, config: ConfigDict, steps: int) -> GeneratorStage | ClassifierStage:
    """Returns the stage with epochs of ``steps`` complete batches; a classifier mixes with a fresh generator."""
    plan = EpochPlan(preset.batch_size, steps, preset.batch_size)
    if preset.stage == "generator":
        augmentation = Augmentation.for_generator(config.augment, preset.images_side)
        return GeneratorStage(config, StageData(noise(preset), augmentation, plan))
    augmentation = Augmentation.for_classifier(config.augment, preset.images_side)
    data = StageData(noise(preset), augmentation, plan)
    side = preset.classifier_side
    test_set = TestSet(np.zeros((1, side, side, 3), np.uint8), np.zeros(1, np.int32), 1)
    generator = build_generator(config, nnx.Rngs(0))
    return ClassifierStage(config, data, NUM_CLASSES, test_set, mixes=True, generator=generator)


def noise(preset: Preset) -> ResidentData:
    """Returns a batch of images of noise: neither content nor number of training images affects the time."""
    shape = (preset.batch_size, preset.images_side, preset.images_side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return to_device(images, np.arange(preset.batch_size) % NUM_CLASSES, NUM_CLASSES)
