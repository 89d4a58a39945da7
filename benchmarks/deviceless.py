"""Compiles programs for an H100 on a machine without a GPU, to inspect what XLA makes of them.

This needs ``jax[cuda13]``, but neither a GPU nor a driver. Nothing can be run, and XLA cannot try which of several
implementations is fastest, so the compiled program is not exactly the one that would run on a GPU.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from chimeramix_jax.runtime import backend, xla_flags

TARGET = Path(__file__).parent / "h100.textproto"
BYTES_PER_SECOND = 3.35e12  # of an H100's memory

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%(?P<name>[\w.\-]+) \(.*\{$")
_CALLS = {  # operations that run other computations, and the attributes that name these
    "conditional": "true_computation|false_computation|branch_computations",
    "while": "condition|body",
    "call": "to_apply",
}
_WORKSPACE = re.compile(r", [su]8\[\d+\]\{0\}\)$")  # working memory that a library's function returns beside its result
_NO_KERNELS = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")


@dataclass(frozen=True)
class Kernel:
    """An operation of a compiled program.

    Attributes:
        name: its name in the program.
        kind: XLA's name of the operation, or the name of the library's function.
        moved: bytes that it reads and writes.
        source: the JAX operation that it comes from; empty if XLA does not record it.
    """

    name: str
    kind: str
    moved: int
    source: str = ""


@contextlib.contextmanager
def on_an_h100() -> Iterator[NamedSharding]:
    """Makes the package behave as on a GPU; yields the sharding that arguments of a program must have.

    Must be entered before JAX computes anything.

    Raises:
        SystemExit: JAX has no compiler for CUDA.
    """
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # it would check the version of the driver, which is not there
    for flag in ("--xla_gpu_autotune_level=0", "--xla_gpu_enable_triton_gemm=false"):  # both would need a GPU
        xla_flags.add(flag)
    jax.config.update("jax_platforms", "cpu")
    try:
        described = topologies.get_topology_desc(platform="cuda", target_config=TARGET.read_text(), topology="1x1x1")
    except NotImplementedError:
        raise SystemExit('JAX has no compiler for CUDA here: pip install "jax[cuda13]"') from None
    with mock.patch.object(backend, "on_accelerator", return_value=True):
        yield NamedSharding(Mesh(np.array(described.devices), ("device",)), PartitionSpec())


def lying_at(place: NamedSharding, tree: PyTree) -> PyTree:
    """Returns the shapes of a tree's arrays with ``place`` as their sharding."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)


def kernels(program: str) -> list[Kernel]:
    """Returns the operations in a compiled program's text, in order, with the bytes of their operands and results.

    Of a branch (``jax.lax.cond``), the operations of the side that moves most count; those of a loop count as often as
    it runs, or once if XLA does not know how often.
    """
    computations: dict[str, list[str]] = {}
    for line in program.splitlines():
        if header := _COMPUTATION.match(line):
            computations[header["name"]] = lines = []
            if header["entry"]:
                entry = header["name"]
        elif _INSTRUCTION.match(line):
            lines.append(line)
    return _kernels(entry, computations)


def _kernels(computation: str, computations: dict[str, list[str]]) -> list[Kernel]:
    """Returns the operations of one of a program's computations, and of those that it calls."""
    sizes: dict[str, int] = {}
    found: list[Kernel] = []
    for line in computations[computation]:
        instruction = _INSTRUCTION.match(line)
        assert instruction is not None
        name, result, operation, rest = instruction.groups()
        sizes[name] = _size(_WORKSPACE.sub(")", result) if operation == "custom-call" else result)
        if operation in _NO_KERNELS:
            continue
        if operation in _CALLS:
            called = [_kernels(name, computations) for name in _called(_CALLS[operation], line)]
            if operation == "conditional":
                found += max(called, key=lambda side: sum(kernel.moved for kernel in side))
            else:
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
                found += (int(trips[1]) if trips else 1) * [kernel for part in called for kernel in part]
            continue
        read = sum(sizes.get(operand, 0) for operand in re.findall(r"%([\w.\-]+)", rest.split("), ")[0]))
        library, source = (re.search(rf'{key}="([^"]*)"', line) for key in ("custom_call_target", "op_name"))
        kind = library[1] if library else operation
        found.append(Kernel(name, kind, sizes[name] + read, source[1] if source else ""))
    return found


def _called(attribute: str, line: str) -> list[str]:
    """Returns the names of the computations that an instruction calls."""
    named = re.findall(rf"\b(?:{attribute})=(\{{[^}}]*\}}|%[\w.\-]+)", line)
    return [name for names in named for name in re.findall(r"%([\w.\-]+)", names)]


def _size(shape: str) -> int:
    """Returns the bytes of the arrays that a shape in a program's text names."""
    return sum(
        _BYTES[kind] * int(np.prod([int(side) for side in sides.split(",") if side], dtype=np.int64))
        for kind, sides in _ARRAY.findall(shape)
    )
