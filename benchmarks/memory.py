"""How much memory a configuration's training steps take, by XLA's own account of the compiled programs.

    python -m benchmarks.memory configs/cifair10.py configs/stl10.py

Compiles one step of each stage for the device in use, without data and without running it, and prints the sizes of what
it is given (state and data), what it works in, and both together. ``--precision`` overrides the configured one.
"""

import argparse
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.data import catalog
from chimeramix_jax.data.sampling import EpochPlan, ResidentData, repeats_per_epoch, to_device
from chimeramix_jax.evaluation import TestSet
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.generator import GeneratorStage, build_generator

MIB = 2**20
CLASSES_OF_A_FOLDER = 10  # where a data set's number of classes is the user's


def main() -> None:
    """Prints a table, a line per configuration and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", help="config files, as for main.py's --config")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="instead of the configured one")
    arguments = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    print(f"{'config':32}  {'stage':10}  {'given':>10}  {'working':>10}  {'together':>10}")
    for source in arguments.configs:
        config = settings.load(source)
        if arguments.precision:
            config.precision = arguments.precision
        for stage in (generator_stage(config), classifier_stage(config)):
            given, working = memory(stage)
            sizes = "  ".join(f"{size / MIB:6.0f} MiB" for size in (given, working, given + working))
            print(f"{source:32}  {stage.name:10}  {sizes}", flush=True)


def data_of(config: ConfigDict, side: int) -> ResidentData:
    """A training set of the configured size, black."""
    classes = catalog.dataset_entry(config.dataset.name).classes or CLASSES_OF_A_FOLDER
    labels = np.repeat(np.arange(classes), config.max_labels_per_class)
    return to_device(np.zeros((len(labels), side, side, 3), np.uint8), labels, classes)


def plan_of(config: ConfigDict, stage: str, data: ResidentData) -> EpochPlan:
    """The epochs of a stage."""
    repeats = repeats_per_epoch(config[stage].num_dataset_repeats_base, config.max_labels_per_class)
    return EpochPlan(len(data.labels), repeats, config[stage].batch_size)


def generator_stage(config: ConfigDict) -> GeneratorStage:
    """The generator's stage without real data."""
    data = data_of(config, config.generator.image_side)
    return GeneratorStage(config, data, plan_of(config, "generator", data))


def classifier_stage(config: ConfigDict) -> ClassifierStage:
    """The classifier's stage without real data, mixing with a fresh generator."""
    side = config.classifier.image_side
    data = data_of(config, side)
    test_set = TestSet(np.zeros((1, side, side, 3), np.uint8), np.zeros(1, np.int32), 1)
    plan = plan_of(config, "classifier", data)
    generator = build_generator(config, nnx.Rngs(0)) if settings.needs_generator(config) else None
    mixes = config.mixing.mask != "none"
    return ClassifierStage(config, data, plan, len(data.member_counts), test_set, mixes, generator)


def memory(stage: GeneratorStage | ClassifierStage) -> tuple[int, int]:
    """Bytes that one compiled step is given, and bytes that it works in."""
    state = jax.eval_shape(stage.initial_state, jax.random.key(0))
    indices = jnp.zeros(stage.plan.batch_size, jnp.int32)
    step = jax.jit(stage.train_step, donate_argnums=0)
    compiled = step.lower(state, stage.inputs, indices, None, jax.random.key(0)).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise SystemExit(f"{jax.default_backend()}: this backend does not say how much memory a program takes")
    return analysis.argument_size_in_bytes, analysis.temp_size_in_bytes


if __name__ == "__main__":
    main()
