"""The training loop of both stages: epochs of compiled steps, metrics, checkpoints, and going on where it stopped."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.reporting.metrics import MetricsLog
from chimeramix_jax.training.checkpoints import StageCheckpoints, State
from chimeramix_jax.training.execution import Execution, OneDevice, Progress, for_one_run

# Where random numbers come from: keys are folded from the run's seed by these addresses, never stored. A classifier
# trained with and one trained without mixing share an address: they start equal and see the images in one order.
_STAGE_ADDRESS = {"generator": 0, "classifier": 1}
_INITIAL_STATE, _FIRST_EPOCH = 0, 1  # within a stage
_EPOCH_ORDER, _FIRST_STEP = 0, 1  # within an epoch

Metrics = dict[str, Float[Array, ""]]


class Stage(Protocol):
    """What the loop has to know of a stage. ``inputs`` is whatever the steps read beside the state."""

    name: str
    epochs: int
    plan: EpochPlan
    inputs: PyTree

    def initial_state(self, key: PRNGKeyArray) -> State:
        """The state at step 0."""

    def train_step(
        self,
        state: State,
        inputs: PyTree,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
    ) -> tuple[State, Metrics]:
        """One step, as a pure function."""

    def evaluate(self, state: State) -> dict[str, float]:
        """Measures the state on the way; an empty dictionary where there is nothing to measure."""


@dataclass(frozen=True)
class Trained:
    """A finished stage: its state, and the seconds that its training took, those before interruptions included."""

    state: State
    seconds: float


def train(
    stage: Stage,
    directory: Path,
    config: ConfigDict,
    about: dict[str, Any],
    *,
    title: str,
    execution: Execution | None = None,
) -> Trained:
    """Trains a stage from its newest checkpoint, or from the beginning, to its last epoch.

    Every random number is drawn by its address (seed, stage, epoch, step), so a resumed run is bit for bit the
    uninterrupted one.

    Args:
        stage: what to train.
        directory: where ``checkpoints/`` and ``metrics.jsonl`` go.
        config: the run's settings, of which ``seed``, ``checkpoint``, ``evaluation`` and ``steps_per_call`` count here.
        about: stored with every checkpoint, for those who restore it later.
        title: what the progress display calls the stage.
        execution: where the steps run, and with whose others; None: those of this run alone, on ``config.devices``.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), _STAGE_ADDRESS[stage.name])
    steps = stage.plan.steps
    log = MetricsLog(directory / "metrics.jsonl")
    with StageCheckpoints(directory / "checkpoints", config.checkpoint.keep) as checkpoints:
        state, epoch, seconds = _start(stage, checkpoints, _quickly_compiled(jax.random.fold_in(key, _INITIAL_STATE)))
        if epoch == stage.epochs:
            return Trained(state, seconds)
        execution = execution or for_one_run(stage.plan.batch_size, config.devices, title)
        state = execution.place(state)
        log.rewind(epoch * steps)
        saved_at = time.monotonic()
        started_at = saved_at - seconds
        runner = EpochRunner(stage, config.steps_per_call, execution, title)
        with execution.progress(title, stage.epochs * steps, epoch * steps) as progress:
            while epoch < stage.epochs:
                epoch_key = jax.random.fold_in(key, _FIRST_EPOCH + epoch)
                state, metrics = runner.run(state, epoch_key, epoch * steps, progress)
                epoch += 1
                if epoch < stage.epochs and epoch % config.evaluation.every_epochs == 0:
                    metrics |= stage.evaluate(state)
                log.write(stage=stage.name, epoch=epoch, step=epoch * steps, **metrics)
                progress.update(epoch * steps, **metrics)
                now = time.monotonic()
                if epoch == stage.epochs or now - saved_at >= config.checkpoint.every_seconds:
                    seconds, saved_at = now - started_at, now
                    position = {"epoch": epoch, "step": epoch * steps, "seconds": seconds}
                    checkpoints.save(epoch * steps, state, about | position)
    return Trained(state, seconds)


def is_finished(directory: Path, epochs: int) -> bool:
    """Whether the stage in this directory has been trained to its last epoch."""
    about = newest(directory)
    return about is not None and about["epoch"] >= epochs


def trained_seconds(directory: Path) -> float | None:
    """The seconds that the stage in this directory was trained for; None where there is no checkpoint."""
    about = newest(directory)
    return None if about is None else about["seconds"]


def newest(directory: Path) -> dict[str, Any] | None:
    """What the newest checkpoint of a stage says of itself; None where there is none."""
    if not (directory / "checkpoints").is_dir():
        return None
    with StageCheckpoints(directory / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step()
        return None if step is None else checkpoints.about(step)


def _start(stage: Stage, checkpoints: StageCheckpoints, key: PRNGKeyArray) -> tuple[State, int, float]:
    """The state to go on from, the epochs done and the seconds they took."""
    step = checkpoints.latest_step()
    if step is None:
        return jax.jit(stage.initial_state)(key), 0, 0.0
    state, about = checkpoints.restore(step, jax.eval_shape(stage.initial_state, key))
    return state, about["epoch"], about["seconds"]


def _quickly_compiled(key: PRNGKeyArray) -> PRNGKeyArray:
    """A key derived from this one, of the kind whose numbers XLA draws by one instruction of its own.

    Initial states draw once for every parameter, and XLA would compile the default kind's arithmetic as often: seconds.
    """
    return jax.random.wrap_key_data(jax.random.bits(key, (4,), jnp.uint32), impl="rbg")


class EpochRunner:
    """Runs a stage's epochs, several steps in one compiled call.

    ``steps_per_call`` 0 is the backend's best: a whole epoch, but on CPU one step, since XLA:CPU runs the body of a
    loop on a single core.
    """

    def __init__(
        self, stage: Stage, steps_per_call: int = 0, execution: Execution | None = None, program: str | None = None
    ):
        """Prepares the compiled functions; compilation itself happens at the first call.

        ``execution`` None is one device; ``program`` tells the stage from others that the same seeds go through.
        """
        execution = execution or OneDevice()
        automatic = 1 if jax.default_backend() == "cpu" else stage.plan.steps
        self._stage, self._inputs = stage, execution.place(stage.inputs)
        self._steps_per_call = min(steps_per_call or automatic, stage.plan.steps)
        self._order = jax.jit(stage.plan.order)
        self._call = execution.compiled(self._steps, program=(program, stage.plan))

    def run(
        self, state: State, epoch_key: PRNGKeyArray, steps_before: int, progress: Progress
    ) -> tuple[State, dict[str, float]]:
        """Runs an epoch; returns the state after it and the means of the steps' metrics."""
        order = self._order(jax.random.fold_in(epoch_key, _EPOCH_ORDER))
        sums, steps, done = self._zeros(state, order, epoch_key), self._stage.plan.steps, 0
        while done < steps:
            count = min(self._steps_per_call, steps - done)
            state, sums = self._call(state, sums, self._inputs, order, epoch_key, done, count=count)
            done += count
            jax.block_until_ready(sums)
            if done < steps:
                progress.update(steps_before + done)
        return state, {name: float(value) / steps for name, value in sums.items()}

    def _zeros(self, state: State, order, epoch_key: PRNGKeyArray) -> Metrics:
        step = partial(self._one_step, inputs=self._stage.inputs, order=order, epoch_key=epoch_key)
        _, metrics = jax.eval_shape(step, 0, state)
        return jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), metrics)

    def _one_step(self, index, state: State, *, inputs: PyTree, order, epoch_key: PRNGKeyArray):
        indices, counts = order
        example_mask = None if counts is None else counts[index]
        key = jax.random.fold_in(epoch_key, _FIRST_STEP + index)
        return self._stage.train_step(state, inputs, indices[index], example_mask, key)

    def _steps(self, state: State, sums: Metrics, inputs: PyTree, order, epoch_key, first, *, count: int):
        def body(index, carry):
            state, sums = carry
            state, metrics = self._one_step(index, state, inputs=inputs, order=order, epoch_key=epoch_key)
            return state, jax.tree.map(jnp.add, sums, metrics)

        if count == 1:
            return body(first, (state, sums))
        return jax.lax.fori_loop(first, first + count, body, (state, sums))
