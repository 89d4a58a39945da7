"""A stage that trains in a moment, for tests of the loop; run as a program, a target for signals.

``python -m training.toy_stage DIRECTORY '{"pause": 0.05, "config.checkpoint.every_seconds": 0.01}'``
"""

import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from chimeramix_jax.config import defaults
from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.errors import NonFiniteError, StorageError
from chimeramix_jax.runtime import stopping
from chimeramix_jax.training import loop
from chimeramix_jax.training.calls import drive


class ToyStage:
    """Weights that follow random numbers; with ``fault``, "loss" or "gradients", a share of the steps is not finite."""

    name = "generator"

    def __init__(self, epochs=3, steps=6, pause=0.0, fault="", fault_probability=0.0, size=8, began=""):
        self.epochs, self.plan, self.inputs = epochs, EpochPlan(4 * steps, 1, 4), jnp.arange(4.0 * steps)
        self.pause, self.fault, self.fault_probability, self.size = pause, fault, fault_probability, size
        self.began = began  # a file that is made when a step begins to pause

    def initial_state(self, key):
        return {
            "generator": {"weights": jax.random.normal(key, (self.size,))},
            "optimizer": {"count": jnp.zeros((), jnp.int32)},
        }

    def train_step(self, state, inputs, indices, example_mask, key, shared_key):
        fault_key, noise_key = jax.random.split(key)
        weights = 0.9 * state["generator"]["weights"] + 0.1 * jax.random.normal(noise_key, (self.size,))
        bad = jax.random.bernoulli(fault_key, self.fault_probability)
        loss = jnp.mean(jnp.square(weights)) + jnp.mean(inputs[indices])
        if self.fault == "loss":
            loss = jnp.where(bad, jnp.nan, loss)
        if self.fault == "gradients":
            weights = jnp.where(bad, jnp.inf, weights)
        if self.pause:
            jax.experimental.io_callback(self._pause, None)
        state = {"generator": {"weights": weights}, "optimizer": {"count": state["optimizer"]["count"] + 1}}
        return state, {"loss": loss, "mean": jnp.mean(weights)}

    def _pause(self):
        if self.began:
            Path(self.began).touch()
        time.sleep(self.pause)

    def learning_rate(self, step):
        return 0.1

    def skip(self, state, steps):
        return state

    def finished(self, state, key):
        return state

    def evaluate(self, state):
        stopping.raise_if_asked()
        return {"test_loss": float(jnp.sum(state["generator"]["weights"]))}


def train(directory, **changes):
    """Trains the stage in a directory; ``config.<key>`` changes a setting, other keys change the stage."""
    config = defaults.get_config()
    config.checkpoint.every_seconds = 0.0
    config.evaluation.every_epochs = 1
    settings = {key.removeprefix("config."): value for key, value in changes.items() if key.startswith("config.")}
    config.update_from_flattened_dict(settings)
    stage = ToyStage(**{key: value for key, value in changes.items() if not key.startswith("config.")})
    return drive(loop.train(stage, Path(directory), config, {"classes": 3}, title="toy"))


def weights(trained):
    """The weights as bytes, so that every bit is compared."""
    return np.asarray(trained.state["generator"]["weights"]).tobytes()


def main():
    changes = json.loads(sys.argv[2])
    stopping.SECONDS_TO_STOP = changes.pop("seconds_to_stop", stopping.SECONDS_TO_STOP)
    try:
        with stopping.listening():
            train(sys.argv[1], **changes)
    except stopping.Stopped as stopped:
        print(f"stopped ({stopped})", file=sys.stderr)
        sys.exit(stopped.exit_code)
    except (NonFiniteError, StorageError) as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
