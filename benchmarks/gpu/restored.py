"""Writes what the networks of a finished run compute from fixed inputs, on the device that JAX chooses.

JAX_PLATFORMS=cpu python -m benchmarks.gpu.restored WORKDIR FILE.npz
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.gpu import machine
from chimeramix_jax import restore_classifier, restore_generator
from chimeramix_jax.config import from_json
from chimeramix_jax.mixing.blending import mixed_images

IMAGES = 8


def arrays(workdir: Path) -> dict[str, np.ndarray]:
    """Returns the parameters ("parameters/...") and outputs ("outputs/...") of a run's generator and classifier."""
    config = from_json((workdir / "config.json").read_text())
    generator, classifier = restore_generator(workdir), restore_classifier(workdir)
    random = np.random.default_rng(0)
    a, b, images = (
        jnp.asarray(random.uniform(-1, 1, (IMAGES, side, side, 3)), jnp.float32)
        for side in (config.generator.image_side, config.generator.image_side, config.classifier.image_side)
    )
    mask_side = config.generator.image_side // 4
    mask = jnp.asarray(random.integers(0, 2, (IMAGES, mask_side, mask_side, 1)), jnp.float32)
    found = {
        "outputs/mixed": nnx.jit(mixed_images)(generator, a, b, mask),
        "outputs/logits": nnx.jit(lambda network, inputs: network(inputs))(classifier, images),
    }
    for name, network in (("generator", generator), ("classifier", classifier)):
        leaves, _ = jax.tree_util.tree_flatten_with_path(nnx.state(network))
        found |= {f"parameters/{name}{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}
    return {name: np.asarray(value) for name, value in found.items()}


def main() -> None:
    """Writes the arrays of a run to a file."""
    machine.prepare()
    workdir, file = sys.argv[1:]
    found: dict[str, Any] = arrays(Path(workdir))
    np.savez(file, **found)


if __name__ == "__main__":
    main()
