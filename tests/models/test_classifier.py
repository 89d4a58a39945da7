import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from chimeramix_jax.models import classifier
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.resnet import ResNet
from chimeramix_jax.models.wide_resnet import WideResNet


def build(model_name, num_classes=7, **settings):
    return nnx.eval_shape(lambda: classifier.build(model_name, num_classes, rngs=nnx.Rngs(0), **settings))


def test_a_wide_resnet_is_built_from_depth_width_and_dropout():
    network = build("wrn-16-2", dropout_rate=0.3)
    assert isinstance(network, WideResNet)
    assert len(network.blocks) == 6
    assert network.head.kernel.shape == (128, 7)
    assert {block.dropout.rate for block in network.blocks} == {0.3}


def test_the_early_variant_of_a_wide_resnet_halves_the_side_in_all_three_groups():
    def shapes(name, side):
        """The shapes of the features after the stem and after each block."""

        def features(images):
            network = classifier.build(name, 7, rngs=nnx.Rngs(0))
            seen = [network.stem(images)]
            for block in network.blocks:
                seen.append(block(seen[-1]))
            return seen

        images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
        return [feature.shape[1:] for feature in nnx.eval_shape(features, images)]

    assert shapes("wrn-10-4-early", 32) == [(32, 32, 16), (16, 16, 64), (8, 8, 128), (4, 4, 256)]
    assert shapes("wrn-10-4", 32) == [(32, 32, 16), (32, 32, 64), (16, 16, 128), (8, 8, 256)]
    assert shapes("wrn-10-1-early", 20)[1:] == [(10, 10, 16), (5, 5, 32), (3, 3, 64)]


def test_the_early_variant_has_the_parameters_of_the_wide_resnet():
    def parameters(name):
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(build(name), nnx.Param)))

    assert parameters("wrn-16-2-early") == parameters("wrn-16-2")
    projection = 16 * 16  # at width 1 the first group keeps the channels, and only the early variant needs one
    assert parameters("wrn-10-1-early") == parameters("wrn-10-1") + projection


def test_a_resnet_50_is_built_by_its_name_and_ignores_dropout():
    network = build("resnet-50", dropout_rate=0.3)
    assert isinstance(network, ResNet)
    assert [len(stage) for stage in network.stages] == [3, 4, 6, 3]
    assert network.head.kernel.shape == (2048, 7)
    assert not [module for _, module in nnx.iter_graph(network) if isinstance(module, nnx.Dropout)]


@pytest.mark.parametrize("name", ["wrn-10-1", "wrn-10-1-early", "resnet-50"])
def test_every_classifier_takes_the_same_arguments_and_starts_in_training_mode(name):
    def logits(images, mask, key):
        network = classifier.build(name, 7, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        norms = [module for _, module in nnx.iter_graph(network) if isinstance(module, BatchNorm)]
        assert not any(norm.use_running_average for norm in norms)
        assert network.eval().train() is network  # as a SwitchableModule; Flax's own modules return None
        return network(images, example_mask=mask, dropout_key=key)

    shapes = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.bool_)
    result = nnx.eval_shape(logits, *shapes, jax.random.key(0))
    assert (result.shape, result.dtype) == ((2, 7), jnp.float32)


@pytest.mark.parametrize("name", ["resnet-18", "resnet50", "wrn-16", "wrn-16-8-2", "wrn-16-8-late", ""])
def test_an_unknown_name_is_refused_with_the_allowed_names(name):
    with pytest.raises(ValueError, match=r"wrn-<depth>-<width>, .*-early or resnet-50") as caught:
        build(name)
    assert repr(name) in str(caught.value)
