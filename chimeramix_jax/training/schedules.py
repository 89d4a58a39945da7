"""Schedules of the learning rate that several stages share."""

import optax


def warm_cosine(learning_rate: float, total_steps: int, warm_up: float) -> optax.Schedule:
    """Returns a schedule, in steps, that rises evenly to ``learning_rate`` and then falls to 0 along a cosine.

    Args:
        learning_rate: the highest rate.
        total_steps: of the stage, the rise included.
        warm_up: share of the steps in which the rate rises; at least one step does.
    """
    rising = max(round(warm_up * total_steps), 1)
    first = learning_rate / (rising + 1)
    return optax.warmup_cosine_decay_schedule(first, learning_rate, rising, max(total_steps, rising + 1))
