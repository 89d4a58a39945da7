"""A moving average of the classifier over its training steps, which is evaluated instead of its last parameters.

The parameters and the running statistics of batch norm are averaged alike. The statistics of the averaged network are
nearly the averages of those that belong to the parameters on the way, since these hardly differ within the average's
reach of about ``1 / (1 - decay)`` steps.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

AVERAGE = "average"  # its entry in a classifier's state

Average = dict[str, PyTree]


def averages(settings: ConfigDict) -> bool:
    """Returns whether a classifier with the settings in ``config.classifier`` has a moving average."""
    return bool(settings.averaged_weights or settings.averaged_share)


def decay(settings: ConfigDict, steps: int) -> float:
    """Returns the decay per step for a training of this many steps; 0 without a moving average."""
    if settings.averaged_share:
        return 1 - 1 / max(settings.averaged_share * steps, 1.0)
    return float(settings.averaged_weights)


def initial_average(parameters: PyTree, statistics: PyTree) -> Average:
    """Returns the average over no steps."""
    parameters, statistics = jax.tree.map(jnp.zeros_like, (parameters, statistics))
    return {"parameters": parameters, "batch_statistics": statistics, "steps": jnp.zeros((), jnp.int32)}


def updated_average(
    average: Average, parameters: PyTree, statistics: PyTree, decay: Float[Array, ""] | float
) -> Average:
    """Returns the average after one more step.

    The weights of the steps fall by the factor ``decay`` from each to the one before, and add up to 1 from the first
    step on (as in Adam, whose bias is corrected), so the initial parameters do not count.
    """
    steps = average["steps"] + 1
    kept = jnp.asarray(decay, jnp.float32)
    weight = (1 - kept) / (1 - kept**steps)

    def towards(old: jax.Array, new: jax.Array) -> jax.Array:
        return (old + weight * (new - old)).astype(old.dtype)

    old = average["parameters"], average["batch_statistics"]
    parameters, statistics = jax.tree.map(towards, old, (parameters, statistics))
    return {"parameters": parameters, "batch_statistics": statistics, "steps": steps}


def aged_average(average: Average, decay: Float[Array, "*seeds"] | float, steps: int) -> Average:
    """Returns the average with the weights that it would have after further steps which are not part of it.

    The weights of a long average add up to nearly 1, as after infinitely many steps; those of an aged one add up to
    less, as after a few. So it is aged by counting fewer steps, and the next ones count for more.
    """
    kept = jnp.asarray(decay, jnp.float32)
    total = (1 - kept ** average["steps"]) * kept**steps
    equal_steps = jnp.round(jnp.log1p(-total) / jnp.log(kept))
    return average | {"steps": equal_steps.astype(average["steps"].dtype)}
