"""The part that stages have in common if they measure nothing and change nothing after their last step."""

from typing import Protocol

from jaxtyping import PRNGKeyArray

from chimeramix_jax.training.calls import State
from chimeramix_jax.training.schedules import Schedule, advanced


class ScheduledInputs(Protocol):
    """What the steps of a stage read, with the schedule of its learning rate."""

    @property
    def schedule(self) -> Schedule:
        """The learning rate by step."""


class PlainStage:
    """A stage that ends with its last step, and is measured by the metrics of its steps alone."""

    inputs: ScheduledInputs

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of all optimizers at a step, counted from 0."""
        return float(self.inputs.schedule(step))

    def skip(self, state: State, steps: int) -> State:
        """Returns the state with the learning rates that follow further steps."""
        return advanced(state, steps)

    def finished(self, state: State, key: PRNGKeyArray) -> State:
        """Returns the state as it is: nothing is left to be done after the last step."""
        return state

    def evaluate(self, state: State) -> dict[str, float]:
        """Returns no metrics."""
        return {}
