"""Shows how much memory a configuration's training steps need, according to XLA's analysis of the compiled programs.

    python -m benchmarks.memory configs/cifair10.py configs/stl10.py
    python -m benchmarks.memory --h100 configs/cifair10.py:chimeramix_grid  # works without a GPU

Compiles one step of each stage, without data and without running it, and prints the sizes of its arguments (state and
data), of its working memory, and of both together. ``--precision`` overrides the configured precision.

``--h100`` compiles for that GPU instead of the device in use (see ``benchmarks/deviceless.py``). It also prints the
number of kernels, the bytes that they read and write, and the time for these bytes at the memory's full speed. On a
real GPU, libraries and JAX's reserve need further memory.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jax.stages import Compiled
from ml_collections import ConfigDict

from benchmarks import deviceless
from chimeramix_jax import config as settings
from chimeramix_jax.config import catalog
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.generator import GeneratorStage
from chimeramix_jax.training.networks import build_generator
from chimeramix_jax.training.stage_data import StageData, load_stage_data

MIB = 2**20
TILES_PER_SIDE = 4


def main() -> None:
    """Prints a table, a line per configuration and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", help="config files, as for main.py's --config")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="instead of the configured one")
    parser.add_argument("--h100", action="store_true", help="compile for an H100, which need not be present")
    parser.add_argument(
        "--largest", type=int, default=0, help="also list this many of the kernels that move most (with --h100)"
    )
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(deviceless.on_an_h100()) if arguments.h100 else None
        print_table(arguments.configs, arguments.precision, place, arguments.largest)


def print_table(sources: Sequence[str], precision: str | None, place: NamedSharding | None, largest: int) -> None:
    """Prints a line per configuration and stage, for the device in use or for that of ``place``."""
    device = jax.devices()[0] if place is None else next(iter(place.device_set))
    print(f"compiled for {device.device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    traffic = "" if place is None else f"  {'kernels':>7}  {'moved':>7}  {'takes':>7}"
    print(f"{'config':40}  {'stage':10}  {'given':>10}  {'working':>10}  {'together':>10}{traffic}")
    for source in sources:
        config = settings.load(source)
        config.precision = precision or config.precision
        stages: list[GeneratorStage | ClassifierStage] = [classifier_stage(config)]
        if settings.needs_generator(config):
            stages.insert(0, generator_stage(config))
        for stage in stages:
            program = compiled(stage, place)
            given, working = memory(program)
            cells = [f"{size / MIB:6.0f} MiB" for size in (given, working, given + working)]
            kernels = [] if place is None else deviceless.kernels(program.as_text() or "")
            if place is not None:
                moved = sum(kernel.moved for kernel in kernels)
                seconds = moved / deviceless.BYTES_PER_SECOND
                cells += [f"{len(kernels):7}", f"{moved / 1e9:4.2f} GB", f"{seconds * 1e3:4.2f} ms"]
            print(f"{source:40}  {stage.name:10}  {'  '.join(cells)}", flush=True)
            for kernel in sorted(kernels, key=lambda kernel: -kernel.moved)[:largest]:
                print(f"  {kernel.moved / 1e6:6.0f} MB  {kernel.kind:34}  {kernel.name:40}  {kernel.source}")


def data_of(config: ConfigDict, stage: str) -> StageData:
    """Returns a training set of the configured size; its images are coloured tiles, which masks can follow."""
    classes = catalog.dataset_entry(config.dataset.name).classes
    if classes is None:
        raise SystemExit(f"{config.dataset.name}: its number of classes is not known without the data; choose another")
    labels = np.repeat(np.arange(classes), config.max_labels_per_class)
    side, tiles = config[stage].image_side, TILES_PER_SIDE
    colours = np.random.default_rng(0).integers(0, 256, (len(labels), tiles, tiles, 3), np.uint8)
    places = np.arange(side) * tiles // side
    return load_stage_data(config, stage, colours[:, places[:, None], places], labels, classes)


def generator_stage(config: ConfigDict) -> GeneratorStage:
    """Returns the generator's stage without real data."""
    return GeneratorStage(config, data_of(config, "generator"))


def classifier_stage(config: ConfigDict) -> ClassifierStage:
    """Returns the classifier's stage without real data. It mixes every batch, which needs the most memory."""
    config = ConfigDict(config)
    config.mixing.probability = 1.0
    side = config.classifier.image_side
    data = data_of(config, "classifier")
    test_set = TestSet(np.zeros((1, side, side, 3), np.uint8), np.zeros(1, np.int32), 1)
    generator = build_generator(config, nnx.Rngs(0)) if settings.needs_generator(config) else None
    mixes = config.mixing.mask != "none"
    return ClassifierStage(config, data, len(data.images.member_counts), test_set, mixes, generator)


def compiled(stage: GeneratorStage | ClassifierStage, place: NamedSharding | None = None) -> Compiled:
    """Compiles one step of a stage for the device in use or for that of ``place``.

    If the classifier's sides grow, that is a step at the full side, which needs the most memory.
    """
    key = jax.random.key(0)
    state = jax.eval_shape(stage.initial_state, key)
    arguments = (state, stage.inputs, jnp.zeros(stage.plan.batch_size, jnp.int32), None, key, key)
    # As a flat list, since JAX also describes arguments by their trees with other leaves, which are not arrays.
    leaves, structure = jax.tree.flatten(arguments)
    donated = range(len(jax.tree.leaves(state)))
    step = jax.jit(lambda *leaves: stage.train_step(*jax.tree.unflatten(structure, leaves)), donate_argnums=donated)
    if place is None:
        return step.lower(*leaves).compile()
    return step.trace(*deviceless.lying_at(place, leaves)).lower(lowering_platforms=("cuda",)).compile()


def memory(program: Compiled) -> tuple[int, int]:
    """Returns the bytes of a compiled step's arguments and of its working memory."""
    analysis = program.memory_analysis()
    if analysis is None:
        raise SystemExit(f"{jax.default_backend()}: this backend does not report the memory of a program")
    return analysis.argument_size_in_bytes, analysis.temp_size_in_bytes


if __name__ == "__main__":
    main()
