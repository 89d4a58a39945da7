"""Builds ONNX graphs node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from jaxtyping import Shaped
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # the newest that runtimes of the last years all know
IR_VERSION = 8  # likewise


class GraphBuilder:
    """A growing list of nodes. Each method returns the name of its result, by which other nodes use it."""

    def __init__(self, *, half: bool = False):
        """Creates an empty graph; with ``half``, weights are stored in float16 and computed with in float32."""
        self._half = half
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with a single output."""
        return self._add(operation, inputs, 1, attributes)[0]

    def split(self, value: str, parts: int, axis: int) -> list[str]:
        """Splits a value into equal parts along an axis."""
        return self._add("Split", (value,), parts, {"axis": axis})

    def add(self, a: str, b: str) -> str:
        """Adds two values."""
        return self.node("Add", a, b)

    def multiply(self, a: str, b: str) -> str:
        """Multiplies two values."""
        return self.node("Mul", a, b)

    def reversed(self, value: str, axis: int) -> str:
        """Reverses a value along an axis."""
        beyond_the_first = np.iinfo(np.int64).min
        limits = ([-1], [beyond_the_first], [axis], [-1])  # first, end, axis, step
        return self.node("Slice", value, *map(self.integers, limits))

    def cast(self, value: str, kind: str) -> str:
        """Converts a value to the type that ONNX calls ``kind``, such as "FLOAT"."""
        return self.node("Cast", value, to=TensorProto.DataType.Value(kind))

    def integers(self, numbers: Sequence[int]) -> str:
        """A constant vector of 64-bit integers, as shapes are."""
        return self._number("integers", np.asarray(numbers, np.int64))

    def small_integer(self, number: int) -> str:
        """A constant vector of a single 32-bit integer."""
        return self._number("small", np.asarray([number], np.int32))

    def real(self, number: float) -> str:
        """A constant scalar in float32, which ``half`` does not shorten."""
        return self._constant(f"real_{number}", np.asarray(number, np.float32))

    def weight(self, name: str, values: Shaped[np.ndarray, "..."]) -> str:
        """A constant with the network's numbers, in float32."""
        if not self._half:
            return self._constant(name, values.astype(np.float32))
        return self.cast(self._constant(name, values.astype(np.float16)), "FLOAT")

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto], producer: str
    ) -> onnx.ModelProto:
        """Returns the whole model, checked."""
        graph = helper.make_graph(self._nodes, "classifier", inputs, outputs, list(self._constants.values()))
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name=producer)
        onnx.checker.check_model(model, full_check=True)
        return model

    def rename(self, value: str, name: str) -> str:
        """Gives a result the name under which users find it."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        return name

    def _add(self, operation: str, inputs: Sequence[str], outputs: int, attributes: dict[str, Any]) -> list[str]:
        first = len(self._nodes)
        names = [f"{operation}_{first}" + (f"_{part}" if outputs > 1 else "") for part in range(outputs)]
        self._nodes.append(helper.make_node(operation, inputs, names, **attributes))
        return names

    def _number(self, kind: str, values: Shaped[np.ndarray, "numbers"]) -> str:
        return self._constant(f"{kind}_{'_'.join(map(str, values.tolist()))}", values)

    def _constant(self, name: str, values: Shaped[np.ndarray, "..."]) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name
