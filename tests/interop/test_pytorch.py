import sys
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx

from chimeramix_jax.errors import InputError
from chimeramix_jax.interop.pytorch import (
    load_discriminator,
    load_generator,
    load_resnet,
    load_wide_resnet,
    read_checkpoint,
)

LOADERS = {"generator": load_generator, "discriminator": load_discriminator, "classifier": load_wide_resnet}


@pytest.fixture
def weights(reference):
    """Returns a function from a network's name to its weights in the published program."""

    def of(network: str) -> dict[str, np.ndarray]:
        prefix = f"{network}/"
        return {name.removeprefix(prefix): array for name, array in reference.items() if name.startswith(prefix)}

    return of


@pytest.fixture
def lightning(weights):
    """Returns the weights of all three networks with the prefixes of a Lightning module."""
    prefixes = {"generator.": "generator", "discriminator.": "discriminator", "model.": "classifier"}
    return {prefix + name: array for prefix, network in prefixes.items() for name, array in weights(network).items()}


def refusal(load, *arguments, **settings) -> str:
    with pytest.raises(InputError) as caught:
        load(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same_values(network, other):
    jax.tree.map(np.testing.assert_array_equal, nnx.state(network), nnx.state(other))


def zeros(shape):
    return np.zeros(shape, np.float32)


def published_wide_resnet(depth, width, classes, values=zeros):
    """Builds weights with the names and shapes of the published program's wide ResNet."""
    weights, channels = {"conv1.weight": values((16, 3, 3, 3))}, 16

    def norm(name, size):
        weights.update(
            {f"{name}.{part}": values((size,)) for part in ("weight", "bias", "running_mean", "running_var")}
        )
        weights[f"{name}.num_batches_tracked"] = np.array(7)

    for group, out in enumerate((16 * width, 32 * width, 64 * width), 1):
        for index in range((depth - 4) // 6):
            name = f"block{group}.layer.{index}"
            norm(f"{name}.bn1", channels)
            weights[f"{name}.conv1.weight"] = values((out, channels, 3, 3))
            norm(f"{name}.bn2", out)
            weights[f"{name}.conv2.weight"] = values((out, out, 3, 3))
            if channels != out:
                weights[f"{name}.convShortcut.weight"] = values((out, channels, 1, 1))
            channels = out
    norm("bn1", channels)
    return weights | {"fc.weight": values((classes, channels)), "fc.bias": values((classes,))}


@pytest.mark.parametrize("network", LOADERS)
def test_a_network_is_found_by_its_prefix_in_a_checkpoint_of_several(network, weights, lightning):
    assert_same_values(LOADERS[network](lightning), LOADERS[network](weights(network)))


def test_pytorchs_layouts_are_converted_to_ours(weights):
    generator, published = load_generator(weights("generator")), weights("generator")
    stem, doubling = generator.encoder.stem, generator.decoder.upsampling[0]
    np.testing.assert_array_equal(stem.kernel[4, 5, 1, 6], published["encoder.model_downsampling.1.weight"][6, 1, 4, 5])
    np.testing.assert_array_equal(stem.bias[...], published["encoder.model_downsampling.1.bias"])
    np.testing.assert_array_equal(
        doubling.kernel[0, 1, 20, 7], published["decoder.model_upsampling.0.weight"][20, 7, 0, 1]
    )
    head = load_wide_resnet(weights("classifier")).head
    np.testing.assert_array_equal(head.kernel[...], weights("classifier")["fc.weight"].T)


def test_parameters_are_float32_whatever_the_dtype_of_the_weights(weights):
    stored = {name: array.astype(np.float16) for name, array in weights("discriminator").items()}
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(load_discriminator(stored)))} == {np.dtype(np.float32)}


def test_the_decoders_residual_blocks_are_loaded_only_on_request(weights):
    published = weights("generator")
    assert len(load_generator(published).decoder.blocks) == 0
    blocks = load_generator(published, decoder_residual_blocks=2).decoder.blocks
    for index, block in enumerate(blocks):
        for position, layer in ((1, block.convolution1), (5, block.convolution2)):
            expected = published[f"decoder.model_blocks.{index}.block.{position}.weight"].transpose(2, 3, 1, 0)
            np.testing.assert_array_equal(layer.kernel[...], expected)
            assert layer.bias is None
    assert len(blocks) == 2


def test_weights_without_decoder_blocks_load_unless_the_blocks_are_requested(weights):
    published = {name: array for name, array in weights("generator").items() if "decoder.model_blocks" not in name}
    assert_same_values(load_generator(published), load_generator(weights("generator")))
    message = refusal(load_generator, published, decoder_residual_blocks=2)
    for index, position in ((0, 1), (0, 5), (1, 1), (1, 5)):
        assert f"decoder.model_blocks.{index}.block.{position}.weight is missing" in message


def test_one_error_lists_every_name_that_is_missing_unknown_or_of_another_shape(weights):
    stored = weights("classifier")
    for name in ("bn1.bias", "block2.layer.0.conv1.weight"):
        del stored[name]
    stored |= {"extra.weight": np.zeros(3), "fc2.bias": np.zeros(2), "conv1.weight": np.zeros((16, 3, 5, 5))}
    message = refusal(load_wide_resnet, stored)
    assert message.startswith("weights do not fit a WideResNet: ")
    assert sorted(message.split(": ", 1)[1].split("; ")) == [
        "block2.layer.0.conv1.weight is missing",
        "bn1.bias is missing",
        "conv1.weight has shape (16, 3, 5, 5), expected (16, 3, 3, 3)",
        "extra.weight is unknown",
        "fc2.bias is unknown",
    ]


@pytest.mark.parametrize(
    ("network", "anchor"),
    [
        ("generator", "encoder.model_downsampling.1.weight"),
        ("discriminator", "model.12.weight"),
        ("classifier", "block1.layer.0.bn1.weight"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_missing_parameter(network, anchor):
    message = refusal(LOADERS[network], {"somebody.elses.weight": np.zeros(3)})
    assert anchor in message
    assert "missing" in message


def test_two_networks_of_a_kind_are_refused_with_both_prefixes(weights):
    twice = {prefix + name: array for prefix in ("a.", "b.") for name, array in weights("discriminator").items()}
    message = refusal(load_discriminator, twice)
    assert "'a.'" in message
    assert "'b.'" in message


@pytest.mark.parametrize(("change", "problem"), [(None, "is missing"), (np.zeros(10), "has shape (10,)")])
def test_weights_from_which_the_size_cannot_be_inferred_are_refused(weights, change, problem):
    stored = {name: array for name, array in weights("classifier").items() if name != "fc.weight"}
    stored |= {} if change is None else {"fc.weight": change}
    assert f"fc.weight {problem}" in refusal(load_wide_resnet, stored)


@pytest.mark.parametrize(("depth", "width", "classes"), [(16, 2, 7), (10, 1, 100), (22, 3, 2)])
def test_depth_width_and_classes_of_a_wide_resnet_are_inferred_from_the_shapes(depth, width, classes):
    classifier = load_wide_resnet(published_wide_resnet(depth, width, classes))
    assert len(classifier.blocks) == 3 * (depth - 4) // 6
    assert classifier.head.kernel.shape == (64 * width, classes)


def test_every_value_of_a_wide_resnet_is_loaded_and_batch_counters_are_ignored():
    numbers = np.random.default_rng(0)
    published = published_wide_resnet(10, 1, 3, lambda shape: numbers.uniform(size=shape).astype(np.float32))
    loaded = sorted(float(leaf.sum()) for leaf in jax.tree.leaves(nnx.state(load_wide_resnet(published))))
    stored = sorted(float(array.sum()) for name, array in published.items() if not name.endswith("tracked"))
    np.testing.assert_allclose(loaded, stored, rtol=1e-5)


def test_a_loaded_wide_resnet_is_in_training_mode_with_the_requested_dropout(weights):
    classifier = load_wide_resnet(weights("classifier"), dropout_rate=0.3)
    assert not classifier.norm.use_running_average
    assert {block.dropout.rate for block in classifier.blocks} == {0.3}


# ------------------------------------------------------------------------------------------------- torchvision's ResNet


@pytest.fixture(scope="module")
def resnet_weights(resnet_reference):
    prefix = "weights/"
    return {name.removeprefix(prefix): array for name, array in resnet_reference.items() if name.startswith(prefix)}


def test_blocks_channels_and_classes_of_a_resnet_are_inferred_from_names_and_shapes(resnet_weights):
    network = load_resnet(resnet_weights)
    assert [len(stage) for stage in network.stages] == [1, 2, 3, 1]
    assert network.stem.kernel.shape == (7, 7, 3, 2)
    assert network.head.kernel.shape == (64, 5)
    assert not network.norm.use_running_average


def test_every_value_of_a_resnet_is_loaded_and_batch_counters_are_ignored(resnet_weights):
    loaded = sorted(float(leaf.sum()) for leaf in jax.tree.leaves(nnx.state(load_resnet(resnet_weights))))
    stored = sorted(float(array.sum()) for name, array in resnet_weights.items() if not name.endswith("tracked"))
    np.testing.assert_allclose(loaded, stored, rtol=1e-4, atol=1e-5)


def test_a_resnet_is_found_by_its_prefix_beside_the_generator_in_a_checkpoint(resnet_weights, weights):
    checkpoint = {f"model.{name}": array for name, array in resnet_weights.items()}
    checkpoint |= {f"generator.{name}": array for name, array in weights("generator").items()}
    assert_same_values(load_resnet(checkpoint), load_resnet(resnet_weights))


def test_one_error_lists_every_name_of_a_resnet_that_does_not_fit(resnet_weights):
    stored = {name: array for name, array in resnet_weights.items() if not name.startswith("layer4.0.conv")}
    stored |= {"layer2.0.downsample.0.weight": zeros((16, 8, 3, 3)), "layer3.3.conv1.weight": zeros((8, 32, 1, 1))}
    del stored["layer2.1.bn2.running_var"]
    message = refusal(load_resnet, stored)
    assert message.startswith("weights do not fit a ResNet: ")
    for problem in (
        "layer2.0.downsample.0.weight has shape (16, 8, 3, 3), expected (16, 8, 1, 1)",
        "layer2.1.bn2.running_var is missing",
        "layer3.3.bn1.weight is missing",
        *(f"layer4.0.conv{number}.weight is missing" for number in (1, 2, 3)),
    ):
        assert problem in message.split(": ", 1)[1].split("; ")


def test_a_resnet_without_one_of_its_stages_is_refused(resnet_weights):
    stored = {name: array for name, array in resnet_weights.items() if not name.startswith("layer4.")}
    assert "layer4.0.conv1.weight is missing" in refusal(load_resnet, stored)


def test_a_wide_resnet_and_a_resnet_are_not_confused(resnet_weights, weights):
    assert "layer1.0.conv3.weight" in refusal(load_resnet, weights("classifier"))
    assert "block1.layer.0.bn1.weight" in refusal(load_wide_resnet, resnet_weights)


# ---------------------------------------------------------------------------------------------------- PyTorch's files


@pytest.mark.parametrize("load", LOADERS.values())
def test_without_torch_a_file_is_refused_with_install_instructions(load, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    message = refusal(load, tmp_path / "weights.pt")
    assert str(tmp_path / "weights.pt") in message
    assert "pip install torch" in message


@pytest.mark.parametrize("path_type", [str, lambda path: path], ids=["str", "Path"])
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"epoch": 3, "state_dict": state}])
def test_weight_files_and_checkpoint_files_load_like_arrays(tmp_path, lightning, weights, wrap, path_type):
    torch = pytest.importorskip("torch")
    path = tmp_path / "last.ckpt"
    torch.save(wrap({name: torch.from_numpy(array.copy()) for name, array in lightning.items()}), path)
    for network, load in LOADERS.items():
        assert_same_values(load(path_type(path)), load(weights(network)))


def test_parameters_saved_with_requires_grad_are_read(tmp_path, weights):
    torch = pytest.importorskip("torch")
    path, published = tmp_path / "weights.pt", weights("discriminator")
    torch.save({name: torch.nn.Parameter(torch.from_numpy(array.copy())) for name, array in published.items()}, path)
    assert_same_values(load_discriminator(path), load_discriminator(published))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pt"
    torch.save({"model.12.weight": partial(print, "code was run")}, path)
    assert f"{path}: cannot be read" in refusal(read_checkpoint, path)


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"], ids=["no file", "empty file", "another file"])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, content):
    pytest.importorskip("torch")
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    assert f"{path}: cannot be read" in refusal(read_checkpoint, path)


def test_a_file_without_a_mapping_is_refused_with_the_type_it_contains(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save([torch.zeros(2)], tmp_path / "weights.pt")
    assert "contains a list" in refusal(read_checkpoint, tmp_path / "weights.pt")
