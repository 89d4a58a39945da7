"""ONNX files, written with the package onnx and tried with onnxruntime."""

import json
from collections.abc import Callable

import numpy as np
import onnxruntime
from jaxtyping import Float, UInt8
from onnx import TensorProto, helper

from chimeramix_jax.training.evaluation_views import EvaluationViews
from chimeramix_jax.use.export import onnx_networks
from chimeramix_jax.use.export.onnx_graph import GraphBuilder
from chimeramix_jax.use.export.onnx_squaring import squared
from chimeramix_jax.use.export.program import Program

INPUT, OUTPUT = "images", "probabilities"

_ERRORS_ONLY = 3  # of onnxruntime's levels of logging
_HEIGHT, _WIDTH = 2, 3  # axes of (batch, 3, height, width)


def content(program: Program) -> bytes:
    """Returns the bytes of the file."""
    graph, metadata = GraphBuilder(half=program.half), program.metadata
    images = graph.node("Transpose", INPUT, perm=[0, 3, 1, 2])
    for side, fit in program.squares:
        images = squared(graph, images, side, fit)
    normalized = graph.node("Div", graph.cast(images, "FLOAT"), graph.real(127.5))
    images, classes = graph.node("Sub", normalized, graph.real(1.0)), len(metadata["class_names"])
    views = _views(graph, program.views, images, program.sides[-1])
    joined = graph.node("Concat", *views, axis=0) if len(views) > 1 else images
    members = onnx_networks.logits(graph, program.network, joined)
    logits = graph.node("Concat", *members, axis=0) if len(members) > 1 else members[0]
    if len(members) * len(views) > 1:
        shares = graph.node("Softmax", logits, axis=1)
        by_view = graph.node("Reshape", shares, graph.integers([len(members) * len(views), -1, classes]))
        logits = graph.node("Log", graph.node("ReduceMean", by_view, axes=[0], keepdims=0))
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


def _views(graph: GraphBuilder, views: EvaluationViews, images: str, side: int) -> list[str]:
    """Returns the views of images of shape (batch, 3, side, side), in the order of ``EvaluationViews``."""
    shift, found = views.shift, []
    padded = images
    if shift:
        padded = graph.node("Pad", images, graph.integers([0, 0, shift, shift] * 2), mode="reflect")
    for row, column in views.corners:
        crop = padded
        if shift:
            limits = ([row, column], [row + side, column + side], [_HEIGHT, _WIDTH])  # first, end, axes
            crop = graph.node("Slice", padded, *map(graph.integers, limits))
        found += [crop, graph.reversed(crop, _WIDTH)] if views.mirror else [crop]
    return found


def runner(
    stored: bytes,
) -> Callable[[UInt8[np.ndarray, "batch height width 3"]], Float[np.ndarray, "batch classes"]]:
    """Returns a function that classifies images with the network in a file's bytes, by onnxruntime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(stored, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]
