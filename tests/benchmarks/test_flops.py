"""The arithmetic counted by hand against the convolutions and matrix products of the same networks, as traced."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jaxprs import products

from benchmarks import flops
from benchmarks.presets import PRESETS, Preset
from chimeramix_jax import config as settings
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.models.wide_resnet import WideResNet
from chimeramix_jax.runtime import backend


@pytest.fixture
def counted(monkeypatch):
    """Returns the operations of a forward pass's convolutions and matrix products, in the form before any lowering."""
    monkeypatch.setattr(backend, "on_accelerator", lambda: True)  # on CPU, convolutions have other forms

    def count(build, apply, *shape):
        graphdef, state = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))))
        images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        traced = jax.make_jaxpr(lambda state, images: apply(nnx.merge(graphdef, state), images))(state, images)
        return sum(map(operations, products(traced.jaxpr)))

    return count


def operations(product):
    """A multiplication and an addition for every factor of every output."""
    left, right = (variable.aval.shape for variable in product.invars)
    outputs = math.prod(product.outvars[0].aval.shape)
    if product.primitive.name == "dot_general":
        (contracted, _), _ = product.params["dimension_numbers"]
        return 2 * outputs * math.prod(left[axis] for axis in contracted)
    assert product.params["feature_group_count"] == product.params["batch_group_count"] == 1
    out_channels = right[product.params["dimension_numbers"].rhs_spec[0]]
    return 2 * outputs * math.prod(right) // out_channels


def generator(rngs):
    return Generator(32, decoder_residual_blocks=2, rngs=rngs)


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
        (
            flops.wide_resnet(128, 10, 4, early=True),
            lambda rngs: WideResNet(10, 4, 10, early=True, rngs=rngs).eval(),
            WideResNet.__call__,
            (128, 128, 3),
        ),
        (
            flops.wide_resnet(260, 16, 1, early=True),
            lambda rngs: WideResNet(16, 1, 10, early=True, rngs=rngs).eval(),
            WideResNet.__call__,
            (260, 260, 3),
        ),
    ],
    ids=["encoder", "decoder", "discriminator", "wide_resnet", "early", "early, narrow, odd sides"],
)
def test_forward_passes_are_counted_as_they_are_traced(counted, by_hand, build, apply, shape):
    assert by_hand.forward == counted(build, apply, *shape)


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


def test_growing_sides_count_with_their_shares_of_the_iterations():
    growing = dataclasses.replace(
        PRESETS["classifier", "paper"], mixing_probability=0.0, growing_sides=((16, 0.4), (24, 0.3))
    )
    by_hand = 0
    for side, share in ((16, 0.4), (24, 0.3), (32, 0.3)):
        network = flops.wide_resnet(side, 16, 8)
        by_hand += share * 10 * (network.forward + network.parameter_gradients)
    assert flops.needed(growing) == pytest.approx(by_hand)
    assert flops.traffic(growing, 4) < flops.traffic(dataclasses.replace(growing, growing_sides=()), 4)
    assert str(growing).startswith("WRN-16-8 at 16 px for 40%, 24 px for 30%, 32 px, ")


def test_a_configurations_classifier_is_counted_by_side(monkeypatch, capsys):
    changes = ["--config.classifier.model=wrn-10-4-early", "--config.classifier.growing_sides=16:0.4,24:0.3"]
    monkeypatch.setattr("sys.argv", ["flops", "digits:baseline", "--config.classifier.image_side=32", *changes])
    flops.main()
    first, *sides, mean = capsys.readouterr().out.splitlines()
    assert first.startswith("WRN-10-4-early at 16 px for 40%, 24 px for 30%, 32 px")
    assert [line.split("px")[0].split()[-1] for line in sides] == ["16", "24", "32"]
    expected = flops.wide_resnet(32, 10, 4, early=True).forward / 1e6
    assert f"30% of the steps: {expected:.4g} MFLOP forward" in sides[-1]
    config = settings.load("digits:baseline")
    settings.override(config, ["--config.classifier.image_side=32", *changes])
    assert mean.endswith(f"{flops.needed(flops.classifier_preset(config)) / 1e9:.4g} GFLOP")
