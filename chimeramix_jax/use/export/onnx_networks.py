"""The classifiers as nodes of an ONNX graph, in evaluation mode and, as ONNX wants it, with channels before pixels."""

import numpy as np
from flax import nnx

from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.resnet import Bottleneck, ResNet
from chimeramix_jax.models.wide_resnet import WideBlock, WideResNet
from chimeramix_jax.use.export.onnx_graph import GraphBuilder


def logits(graph: GraphBuilder, network: Classifier, images: str) -> str:
    """Returns the logits, of shape (batch, classes), for images in [-1, 1] of shape (batch, 3, side, side)."""
    if isinstance(network, WideResNet):
        return _wide_resnet(graph, network, images)
    if isinstance(network, ResNet):
        return _resnet(graph, network, images)
    raise InputError(
        f"--format=onnx: {type(network).__name__} is an own network, which cannot be written as ONNX; choose "
        "stablehlo or savedmodel, the formats for any network"
    )


def _wide_resnet(graph: GraphBuilder, network: WideResNet, images: str) -> str:
    features = _convolution(graph, network.stem, images, "stem")
    for index, block in enumerate(network.blocks):
        features = _wide_block(graph, block, features, f"blocks.{index}")
    return _head(graph, network.head, _norm(graph, network.norm, features, "norm"))


def _wide_block(graph: GraphBuilder, block: WideBlock, features: str, name: str) -> str:
    activated = _norm(graph, block.norm1, features, f"{name}.norm1")
    shortcut = features
    if block.shortcut is not None:
        shortcut = _convolution(graph, block.shortcut, activated, f"{name}.shortcut")
    hidden = _convolution(graph, block.convolution1, activated, f"{name}.convolution1")
    hidden = _norm(graph, block.norm2, hidden, f"{name}.norm2")
    return graph.add(shortcut, _convolution(graph, block.convolution2, hidden, f"{name}.convolution2"))


def _resnet(graph: GraphBuilder, network: ResNet, images: str) -> str:
    features = _norm(graph, network.norm, _convolution(graph, network.stem, images, "stem"), "norm")
    features = graph.node("MaxPool", features, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for number, stage in enumerate(network.stages):
        for index, block in enumerate(stage):
            features = _bottleneck(graph, block, features, f"stages.{number}.{index}")
    return _head(graph, network.head, features)


def _bottleneck(graph: GraphBuilder, block: Bottleneck, features: str, name: str) -> str:
    shortcut, hidden = features, features
    if block.shortcut is not None:
        shortcut = _convolution(graph, block.shortcut.convolution, features, f"{name}.shortcut.convolution")
        shortcut = _norm(graph, block.shortcut.norm, shortcut, f"{name}.shortcut.norm", relu=False)
    for number in (1, 2, 3):
        convolution, norm = getattr(block, f"convolution{number}"), getattr(block, f"norm{number}")
        hidden = _convolution(graph, convolution, hidden, f"{name}.convolution{number}")
        hidden = _norm(graph, norm, hidden, f"{name}.norm{number}", relu=number < 3)
    return graph.node("Relu", graph.add(shortcut, hidden))


def _convolution(graph: GraphBuilder, layer: nnx.Conv, features: str, name: str) -> str:
    kernel = graph.weight(f"{name}.kernel", np.asarray(layer.kernel[...]).transpose(3, 2, 0, 1))
    pads = np.asarray(layer.padding).T.ravel().tolist()  # top, left, bottom, right
    return graph.node("Conv", features, kernel, strides=np.asarray(layer.strides).tolist(), pads=pads)


def _norm(graph: GraphBuilder, layer: BatchNorm, features: str, name: str, *, relu: bool = True) -> str:
    parts = {"scale": layer.scale, "bias": layer.bias, "mean": layer.mean, "variance": layer.variance}
    weights = [graph.weight(f"{name}.{part}", np.asarray(values[...])) for part, values in parts.items()]
    normalized = graph.node("BatchNormalization", features, *weights, epsilon=layer.epsilon)
    return graph.node("Relu", normalized) if relu else normalized


def _head(graph: GraphBuilder, layer: nnx.Linear, features: str) -> str:
    pooled = graph.node("ReduceMean", features, axes=[2, 3], keepdims=0)
    assert layer.bias is not None  # as in every classifier of ours
    kernel = graph.weight("head.kernel", np.asarray(layer.kernel[...]))
    bias = graph.weight("head.bias", np.asarray(layer.bias[...]))
    return graph.node("Gemm", pooled, kernel, bias)
