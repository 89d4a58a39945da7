"""The arithmetic counted by hand against XLA's own count of the same networks."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from benchmarks import flops
from benchmarks.presets import PRESETS, Preset
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.models.wide_resnet import WideResNet


def counted_by_xla(build, apply, *shape):
    """Operations of a forward pass, before any optimization."""
    network = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    graphdef, state = nnx.split(network)
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    lowered = jax.jit(lambda state, images: apply(nnx.merge(graphdef, state), images)).lower(state, images)
    return lowered.cost_analysis()["flops"]


def generator(rngs):
    return Generator(32, decoder_residual_blocks=2, rngs=rngs)


# Norms and activations come on top in XLA's count, zeros of the padding go off: a few per cent at these sizes.
@pytest.mark.parametrize(
    ("by_hand", "build", "apply", "shape"),
    [
        (flops.encoder(64, 32), generator, Generator.encode, (64, 64, 3)),
        (flops.decoder(64, 32, 2), generator, Generator.decode, (16, 16, 128)),
        (
            flops.discriminator(128, 32),
            lambda rngs: Discriminator(32, rngs=rngs),
            Discriminator.__call__,
            (128, 128, 3),
        ),
        (
            flops.wide_resnet(64, 16, 4),
            lambda rngs: WideResNet(16, 4, 10, rngs=rngs).eval(),
            WideResNet.__call__,
            (64, 64, 3),
        ),
    ],
    ids=["encoder", "decoder", "discriminator", "wide_resnet"],
)
def test_forward_passes_are_counted_as_by_xla(by_hand, build, apply, shape):
    assert by_hand.forward == pytest.approx(counted_by_xla(build, apply, *shape), rel=0.08)


def test_iteration_needs_its_batch_times_the_work_of_a_pair():
    single = Preset("generator", 64, 64, 1, "float32")
    # By hand: 4 encodings forward, 2 backward; 4 decodings forward, 3 backward; 3 judgements forward, 3 backward.
    encode, decode, judge = flops.encoder(64, 64), flops.decoder(64, 64, 0), flops.discriminator(64, 64)
    stem, first = encode.layers[0].flops, judge.layers[0].flops
    expected = 8 * encode.forward - 2 * stem + 10 * decode.forward + 8 * judge.forward - 2 * first
    assert flops.needed(single) == expected
    assert flops.needed(Preset("generator", 64, 64, 7, "float32")) == 7 * expected


def test_share_of_peak_is_told_for_known_devices_only():
    assert flops.share_of_peak("NVIDIA H100 80GB HBM3", "bfloat16", 98.9e12) == pytest.approx(0.1)
    assert flops.share_of_peak("NVIDIA H100 80GB HBM3", "float32", 98.9e12) is None
    assert flops.share_of_peak("cpu", "float32", 1e9) is None


def test_a_batch_that_is_not_mixed_needs_the_classifiers_arithmetic_alone():
    never, half, every = (
        flops.needed(dataclasses.replace(PRESETS["classifier", "paper"], mixing_probability=share))
        for share in (0.0, 0.5, 1.0)
    )
    classifier = flops.wide_resnet(32, 16, 8)
    assert never == 10 * (classifier.forward + classifier.parameter_gradients)
    assert half == pytest.approx((never + every) / 2)
