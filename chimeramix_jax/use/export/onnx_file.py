"""ONNX files, written with the package onnx and tried with onnxruntime."""

import json
from collections.abc import Callable

import numpy as np
import onnxruntime
from jaxtyping import Float, UInt8
from onnx import TensorProto, helper

from chimeramix_jax.use.export import onnx_networks
from chimeramix_jax.use.export.onnx_graph import GraphBuilder
from chimeramix_jax.use.export.onnx_squaring import squared
from chimeramix_jax.use.export.program import Program

INPUT, OUTPUT = "images", "probabilities"

_ERRORS_ONLY = 3  # of onnxruntime's levels of logging
_WIDTH = 3  # an axis of (batch, 3, height, width)


def content(program: Program) -> bytes:
    """Returns the bytes of the file."""
    graph, metadata = GraphBuilder(half=program.half), program.metadata
    images = graph.node("Transpose", INPUT, perm=[0, 3, 1, 2])
    for side, fit in program.squares:
        images = squared(graph, images, side, fit)
    normalized = graph.node("Div", graph.cast(images, "FLOAT"), graph.real(127.5))
    views, classes = graph.node("Sub", normalized, graph.real(1.0)), len(metadata["class_names"])
    if program.mirror:
        views = graph.node("Concat", views, graph.reversed(views, _WIDTH), axis=0)
    logits = onnx_networks.logits(graph, program.network, views)
    if program.mirror:
        pairs = graph.node("Reshape", graph.node("Softmax", logits, axis=1), graph.integers([2, -1, classes]))
        logits = graph.node("Log", graph.node("ReduceMean", pairs, axes=[0], keepdims=0))
    scaled = graph.node("Div", logits, graph.real(program.temperature))
    graph.rename(graph.node("Softmax", scaled, axis=1), OUTPUT)
    model = graph.model(
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", classes])],
        producer="chimeramix_jax",
    )
    texts = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in metadata.values())
    helper.set_model_props(model, dict(zip(metadata, texts, strict=True)))
    return model.SerializeToString()


def runner(
    stored: bytes,
) -> Callable[[UInt8[np.ndarray, "batch height width 3"]], Float[np.ndarray, "batch classes"]]:
    """Returns a function that classifies images with the network in a file's bytes, by onnxruntime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(stored, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]
