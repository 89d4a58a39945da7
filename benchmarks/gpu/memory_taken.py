"""How much of the device's memory some steps of a configuration's stage take, by the device's own account.

    python -m benchmarks.gpu.memory_taken '{"config": "cifair10:baseline", "stage": "classifier", "tiny": false}'

A process of its own, since a device tells the peak of a whole process only. Prints a line of JSON at the end.
"""

import json
import sys

import jax
import jax.numpy as jnp

from benchmarks import memory
from benchmarks.gpu import machine
from benchmarks.gpu.program import TINY
from chimeramix_jax import config as settings

STEPS = 3


def main() -> None:
    """Compiles a step and runs it a few times."""
    told = json.loads(sys.argv[1])
    machine.prepare()
    config = settings.load(told["config"])
    if told["tiny"]:
        config.update_from_flattened_dict(dict(TINY) | {"generator.image_side": 16})
    stage = memory.generator_stage(config) if told["stage"] == "generator" else memory.classifier_stage(config)
    state = jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg"))
    step = jax.jit(stage.train_step, donate_argnums=0)
    indices = jnp.arange(stage.plan.batch_size) % stage.plan.examples
    for number in range(STEPS):
        state, metrics = step(state, stage.inputs, indices, None, *(2 * [jax.random.key(number)]))
        jax.block_until_ready((state, metrics))
    statistics = jax.devices()[0].memory_stats() or {}
    given, working = memory.memory(memory.compiled(stage))
    taken = {"peak": statistics.get("peak_bytes_in_use"), "by_xla": given + working}
    print(json.dumps(taken | {"finite": all(bool(jnp.isfinite(value)) for value in metrics.values())}))


if __name__ == "__main__":
    main()
