"""Measures how much of the device's memory some steps of a configuration's stage take, as the device reports it.

    python -m benchmarks.gpu.memory_taken '{"config": "cifair10:baseline", "stage": "classifier", "tiny": false}'

Runs as a separate process, because a device reports the peak of a whole process only. The last line of its output is
JSON.
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
    """Compiles a step, runs it a few times, and prints the memory."""
    request = json.loads(sys.argv[1])
    machine.prepare()
    config = settings.load(request["config"])
    if request["tiny"]:
        config.update_from_flattened_dict(dict(TINY) | {"generator.image_side": 16})
    stage = memory.generator_stage(config) if request["stage"] == "generator" else memory.classifier_stage(config)
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
