"""The classifiers as nodes of an ONNX graph, in evaluation mode and, as ONNX wants it, with channels before pixels."""

import numpy as np

from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.ensemble import Ensemble, Network
from chimeramix_jax.models.harmonic import Convolution, HarmonicStem, Stem
from chimeramix_jax.models.heads import SHORTEST, CosineHead, Head, TvmfHead
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.resnet import Bottleneck, ResNet
from chimeramix_jax.models.wide_resnet import WideBlock, WideResNet
from chimeramix_jax.use.export.onnx_graph import GraphBuilder


def logits(graph: GraphBuilder, classifier: Classifier, images: str) -> list[str]:
    """Returns the logits of each member, of shape (batch, classes), for images in [-1, 1] of (batch, 3, side, side)."""
    if not isinstance(classifier, Ensemble):
        return [_of_network(graph, classifier, images, "")]
    return [_of_network(graph, member, images, f"members.{n}.") for n, member in enumerate(classifier.members)]


def _of_network(graph: GraphBuilder, network: Network, images: str, prefix: str) -> str:
    """Returns the logits of a network; ``prefix`` begins the names of its weights."""
    if isinstance(network, WideResNet):
        return _wide_resnet(graph, network, images, prefix)
    if isinstance(network, ResNet):
        return _resnet(graph, network, images, prefix)
    raise InputError(
        f"--format=onnx: {type(network).__name__} is a custom network, which cannot be written as ONNX; choose "
        "stablehlo or savedmodel, the formats for any network"
    )


def _wide_resnet(graph: GraphBuilder, network: WideResNet, images: str, prefix: str) -> str:
    features = _stem(graph, network.stem, images, prefix)
    for index, block in enumerate(network.blocks):
        features = _wide_block(graph, block, features, f"{prefix}blocks.{index}")
    return _head(graph, network.head, _norm(graph, network.norm, features, f"{prefix}norm"), prefix)


def _wide_block(graph: GraphBuilder, block: WideBlock, features: str, name: str) -> str:
    activated = _norm(graph, block.norm1, features, f"{name}.norm1")
    shortcut = features
    if block.shortcut is not None:
        shortcut = _convolution(graph, block.shortcut, activated, f"{name}.shortcut")
    hidden = _convolution(graph, block.convolution1, activated, f"{name}.convolution1")
    hidden = _norm(graph, block.norm2, hidden, f"{name}.norm2")
    return graph.add(shortcut, _convolution(graph, block.convolution2, hidden, f"{name}.convolution2"))


def _resnet(graph: GraphBuilder, network: ResNet, images: str, prefix: str) -> str:
    features = _norm(graph, network.norm, _stem(graph, network.stem, images, prefix), f"{prefix}norm")
    features = graph.node("MaxPool", features, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for number, stage in enumerate(network.stages):
        for index, block in enumerate(stage):
            features = _bottleneck(graph, block, features, f"{prefix}stages.{number}.{index}")
    return _head(graph, network.head, features, prefix)


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


def _stem(graph: GraphBuilder, layer: Stem, images: str, prefix: str) -> str:
    name = f"{prefix}stem"
    if not isinstance(layer, HarmonicStem):
        return _convolution(graph, layer, images, name)
    responses = _norm(graph, layer.norm, _convolution(graph, layer, images, name), f"{name}.norm", relu=False)
    return _convolution(graph, layer.combination, responses, f"{name}.combination")


def _convolution(graph: GraphBuilder, layer: Convolution | HarmonicStem, features: str, name: str) -> str:
    kernel = graph.weight(f"{name}.kernel", np.asarray(layer.kernel[...]).transpose(3, 2, 0, 1))
    pads = np.asarray(layer.padding).T.ravel().tolist()  # top, left, bottom, right
    return graph.node("Conv", features, kernel, strides=np.asarray(layer.strides).tolist(), pads=pads)


def _norm(graph: GraphBuilder, layer: BatchNorm, features: str, name: str, *, relu: bool = True) -> str:
    scale, bias = layer.scale_and_bias()
    parts = {"scale": scale, "bias": bias, "mean": layer.mean[...], "variance": layer.variance[...]}
    weights = [graph.weight(f"{name}.{part}", np.asarray(values)) for part, values in parts.items()]
    normalized = graph.node("BatchNormalization", features, *weights, epsilon=layer.epsilon)
    return graph.node("Relu", normalized) if relu else normalized


def _head(graph: GraphBuilder, layer: Head, features: str, prefix: str) -> str:
    pooled = graph.node("ReduceMean", features, axes=[2, 3], keepdims=0)
    kernel = graph.weight(f"{prefix}head.kernel", np.asarray(layer.kernel[...]))
    if isinstance(layer, TvmfHead):
        return _tvmf(graph, layer, pooled, kernel, prefix)
    assert layer.bias is not None  # as in every classifier of ours
    bias = graph.weight(f"{prefix}head.bias", np.asarray(layer.bias[...]))
    outputs = graph.node("Gemm", pooled, kernel, bias)
    if isinstance(layer, CosineHead):
        return graph.multiply(_unit_vectors(graph, outputs, axis=1), graph.real(layer.scale))
    return outputs


def _tvmf(graph: GraphBuilder, layer: TvmfHead, features: str, kernel: str, prefix: str) -> str:
    directions = _unit_vectors(graph, kernel, axis=0)
    cosines = graph.node("MatMul", _unit_vectors(graph, features, axis=1), directions)
    one = graph.real(1.0)
    angles = graph.multiply(graph.node("Sub", one, cosines), graph.real(layer.kappa))
    ratio = graph.node("Div", graph.add(one, cosines), graph.add(one, angles))
    scale = graph.add(one, graph.node("Softplus", graph.weight(f"{prefix}head.scale", np.asarray(layer.scale[...]))))
    return graph.multiply(graph.node("Sub", ratio, one), scale)


def _unit_vectors(graph: GraphBuilder, vectors: str, axis: int) -> str:
    lengths = graph.node("ReduceL2", vectors, axes=[axis], keepdims=1)
    return graph.node("Div", vectors, graph.node("Max", lengths, graph.real(SHORTEST)))
