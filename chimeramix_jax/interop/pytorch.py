"""Loads weights of the published PyTorch program and of torchvision's ResNets into our modules.

Weights are a mapping from PyTorch's parameter names to arrays in PyTorch's layouts, or the path of a ``.ckpt`` or
``.pt`` file (which needs torch). Names may have a common prefix, as in a Lightning checkpoint of several networks;
names without that prefix belong to other networks and are ignored.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from chimeramix_jax.errors import InputError
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Decoder, Encoder, Generator
from chimeramix_jax.models.harmonic import Convolution, Stem
from chimeramix_jax.models.heads import Head
from chimeramix_jax.models.layers import DoublingConvolution
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.resnet import ResNet
from chimeramix_jax.models.wide_resnet import WideResNet
from chimeramix_jax.runtime import invocation

Weights = Mapping[str, np.ndarray]
Module = TypeVar("Module", bound=nnx.Module)
Layer = Convolution | Stem | Head | DoublingConvolution | BatchNorm

_TO_NHWC_KERNEL = (2, 3, 1, 0)  # PyTorch: out, in, height, width
_TO_DOUBLING_KERNEL = (2, 3, 0, 1)  # PyTorch: in, out, height, width

_BATCH_COUNTERS = r".*\.num_batches_tracked$"  # PyTorch's norms count batches; ours do not need the count


def load_generator(weights: Weights | str | Path, *, decoder_residual_blocks: int = 0) -> Generator:
    """Returns the mixing generator with published weights; raises InputError, as all here, if they do not fit.

    Args:
        weights: arrays by names such as ``encoder.model_downsampling.1.weight``, or a checkpoint file.
        decoder_residual_blocks: 0 as in the released program, whose checkpoints contain the decoder's residual blocks
            but whose results do not depend on them; or their number in the checkpoint (2), to use them.
    """
    weights = _bare_names(weights, "encoder.model_downsampling.1.weight")
    channels = _shape(weights, "encoder.model_downsampling.1.weight", 4)[0]
    residual_blocks = _count(weights, r"encoder\.model_blocks\.(\d+)\.")
    generator = _unfilled(lambda rngs: Generator(channels, residual_blocks, decoder_residual_blocks, rngs=rngs))
    unused = r"decoder\.model_blocks\." if decoder_residual_blocks == 0 else None
    return _assign(generator, dict(_generator_layers(generator)), weights, unused)


def load_discriminator(weights: Weights | str | Path) -> Discriminator:
    """Returns the discriminator with published weights: arrays by name (``model.0.weight``), or a checkpoint file."""
    weights = _bare_names(weights, "model.12.weight")
    channels = _shape(weights, "model.0.weight", 4)[0]
    discriminator = _unfilled(lambda rngs: Discriminator(channels, rngs=rngs))
    layers = {f"model.{n}": layer for n, layer in zip((0, 2, 5, 8), discriminator.downsampling, strict=True)}
    return _assign(discriminator, {**layers, "model.12": discriminator.to_score}, weights)


def load_wide_resnet(weights: Weights | str | Path, *, dropout_rate: float = 0.0) -> WideResNet:
    """Returns the wide ResNet with published weights, in training mode as in PyTorch; infers depth and width.

    The weights are arrays by names such as ``block1.layer.0.bn1.weight``, or a checkpoint file, which does not hold the
    dropout rate; the published trainings used 0.3.
    """
    weights = _bare_names(weights, "block1.layer.0.bn1.weight")
    num_classes, features = _shape(weights, "fc.weight", 2)
    blocks = _count(weights, r"block1\.layer\.(\d+)\.")
    depth, width = 6 * blocks + 4, max(features // 64, 1)
    classifier = _unfilled(lambda rngs: WideResNet(depth, width, num_classes, dropout_rate=dropout_rate, rngs=rngs))
    return _assign(classifier, dict(_wide_resnet_layers(classifier)), weights, _BATCH_COUNTERS)


def load_resnet(weights: Weights | str | Path) -> ResNet:
    """Returns a ResNet of bottleneck blocks (50, 101 or 152) with torchvision's weights; infers its size from them.

    The weights are arrays by names such as ``layer1.0.conv3.weight``, or a checkpoint file. The network is in training
    mode, as in PyTorch.
    """
    weights = _bare_names(weights, "layer1.0.conv3.weight")
    num_classes = _shape(weights, "fc.weight", 2)[0]
    channels = _shape(weights, "conv1.weight", 4)[0]
    blocks_per_stage = [max(_count(weights, rf"layer{stage}\.(\d+)\."), 1) for stage in (1, 2, 3, 4)]
    classifier = _unfilled(lambda rngs: ResNet(blocks_per_stage, num_classes, channels=channels, rngs=rngs))
    return _assign(classifier, dict(_resnet_layers(classifier)), weights, _BATCH_COUNTERS)


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays in a ``.ckpt`` or ``.pt`` file by name. Needs torch; never runs code from the file."""
    try:
        import torch
    except ImportError:
        raise InputError(f"{path}: reading a PyTorch file needs torch: {invocation.installing('torch')}") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as a file of PyTorch weights: {reason}") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict):
        raise InputError(f"{path}: contains a {type(content).__name__}; it must be a mapping of names to weights")
    tensors = {name: value.detach() for name, value in content.items() if isinstance(value, torch.Tensor)}
    # NumPy has no bfloat16.
    return {name: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for name, t in tensors.items()}


def _generator_layers(generator: Generator) -> Iterator[tuple[str, Layer]]:
    encoder, decoder = generator.encoder, generator.decoder
    if not (isinstance(encoder, Encoder) and isinstance(decoder, Decoder)):
        raise ValueError("the PyTorch program has only CycleGAN's generator")
    yield "encoder.model_downsampling.1", encoder.stem
    for position, halving in zip((4, 7), encoder.downsampling, strict=True):
        yield f"encoder.model_downsampling.{position}", halving
    for part, blocks in (("encoder", encoder.blocks), ("decoder", decoder.blocks)):
        for index, block in enumerate(blocks):
            yield f"{part}.model_blocks.{index}.block.1", block.convolution1
            yield f"{part}.model_blocks.{index}.block.5", block.convolution2
    for position, doubling in zip((0, 3), decoder.upsampling, strict=True):
        yield f"decoder.model_upsampling.{position}", doubling
    yield "decoder.model_upsampling.7", decoder.to_image


def _wide_resnet_layers(classifier: WideResNet) -> Iterator[tuple[str, Layer]]:
    yield "conv1", classifier.stem
    per_group = len(classifier.blocks) // 3
    for index, block in enumerate(classifier.blocks):
        name = f"block{index // per_group + 1}.layer.{index % per_group}"
        yield f"{name}.bn1", block.norm1
        yield f"{name}.conv1", block.convolution1
        yield f"{name}.bn2", block.norm2
        yield f"{name}.conv2", block.convolution2
        if block.shortcut is not None:
            yield f"{name}.convShortcut", block.shortcut
    yield "bn1", classifier.norm
    yield "fc", classifier.head


def _resnet_layers(classifier: ResNet) -> Iterator[tuple[str, Layer]]:
    yield "conv1", classifier.stem
    yield "bn1", classifier.norm
    for stage, blocks in enumerate(classifier.stages, 1):
        for index, block in enumerate(blocks):
            name = f"layer{stage}.{index}"
            yield f"{name}.conv1", block.convolution1
            yield f"{name}.bn1", block.norm1
            yield f"{name}.conv2", block.convolution2
            yield f"{name}.bn2", block.norm2
            yield f"{name}.conv3", block.convolution3
            yield f"{name}.bn3", block.norm3
            if block.shortcut is not None:
                yield f"{name}.downsample.0", block.shortcut.convolution
                yield f"{name}.downsample.1", block.shortcut.norm
    yield "fc", classifier.head


def _variables(layer: Layer) -> dict[str, tuple[nnx.Variable[jax.Array], tuple[int, ...]]]:
    """Maps PyTorch's names of a layer's variables to our variables and the order of PyTorch's axes in ours."""
    if isinstance(layer, BatchNorm):
        assert layer.scale is not None and layer.bias is not None
        named = {
            "weight": layer.scale,
            "bias": layer.bias,
            "running_mean": layer.mean,
            "running_var": layer.variance,
        }
        return {name: (variable, (0,)) for name, variable in named.items()}
    assert isinstance(layer, nnx.Conv | nnx.Linear | DoublingConvolution)  # as in all published networks
    order = {nnx.Linear: (1, 0), DoublingConvolution: _TO_DOUBLING_KERNEL}.get(type(layer), _TO_NHWC_KERNEL)
    bias = getattr(layer, "bias", None)
    return {"weight": (layer.kernel, order)} | ({} if bias is None else {"bias": (bias, (0,))})


def _unfilled(build: Callable[[nnx.Rngs], Module]) -> Module:
    """Returns a module whose variables have shapes but no values, since all of them are set right afterwards."""
    return nnx.eval_shape(lambda: build(nnx.Rngs(0)))


def _assign(module: Module, layers: Mapping[str, Layer], weights: Weights, unused: str | None = None) -> Module:
    """Sets every variable from ``weights``; one error lists all names and shapes that do not fit."""
    expected = {f"{name}.{part}": entry for name, layer in layers.items() for part, entry in _variables(layer).items()}
    problems = [f"{name} is missing" for name in expected.keys() - weights.keys()]
    unknown = weights.keys() - expected.keys()
    problems += [f"{name} is unknown" for name in unknown if not (unused and re.match(unused, name))]
    for name in expected.keys() & weights.keys():
        variable, order = expected[name]
        array = np.asarray(weights[name])
        expected_shape = tuple(variable.shape[axis] for axis in np.argsort(order))
        if array.shape == expected_shape:
            array = array.transpose(order)
            variable.set_value(
                jnp.asarray(array, jax.dtypes.canonicalize_dtype(np.promote_types(array.dtype, np.float32)))
            )
        else:
            problems.append(f"{name} has shape {array.shape}, expected {expected_shape}")
    if problems:
        raise InputError(f"weights do not fit a {type(module).__name__}: " + "; ".join(sorted(problems)))
    return module


def _bare_names(weights: Weights | str | Path, anchor: str) -> Weights:
    """Returns the weights of the network that has the parameter ``anchor``, without their common prefix."""
    if isinstance(weights, str | Path):
        weights = read_checkpoint(weights)
    prefixes = [name.removesuffix(anchor) for name in weights if name == anchor or name.endswith("." + anchor)]
    if len(prefixes) != 1:
        problem = f"it has several prefixes: {', '.join(map(repr, prefixes))}" if prefixes else "it is missing"
        raise InputError(f"cannot find the network by its parameter {anchor}: {problem}")
    prefix = prefixes[0]
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}


def _shape(weights: Weights, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in weights or np.ndim(weights[name]) != dimensions:
        problem = f"has shape {np.shape(weights[name])}" if name in weights else "is missing"
        raise InputError(f"cannot infer the network's size: {name} {problem}, expected {dimensions} dimensions")
    return np.shape(weights[name])


def _count(weights: Weights, pattern: str) -> int:
    """Counts the numbered parts that match the pattern, whose first group is the number."""
    return len({match.group(1) for name in weights if (match := re.match(pattern, name))})
