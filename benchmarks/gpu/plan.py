"""The items of each part of the kit, in order of importance, with their estimated times on a GPU."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.items import Item

PARTS = ("check", "speed", "train")

# The stages whose sizes differ in the published settings: data set, experiment, stage.
CONFIGURATIONS = (
    ("cifair10", "chimeramix_grid", "generator"),
    ("cifair10", "chimeramix_grid", "classifier"),
    ("cifair10", "baseline", "classifier"),
    ("cifair100", "chimeramix_grid", "generator"),
    ("cifair100", "chimeramix_grid", "classifier"),
    ("stl10", "chimeramix_grid", "generator"),
    ("stl10", "chimeramix_grid", "classifier"),
    ("stl10", "baseline", "classifier"),
)

IMAGES_PER_CLASS = (50, 10)
STAGES = ("generator", "classifier")


def items(part: str, *, work: Path) -> list[Item]:
    """Returns the items of a part.

    Args:
        part: one of ``PARTS``.
        work: the folder for compiled programs, unless ``JAX_COMPILATION_CACHE_DIR`` names another.
    """
    found = {"check": _check, "speed": _speed, "train": _train}[part]()
    shared = {"TF_CPP_MIN_LOG_LEVEL": "2", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        shared["JAX_COMPILATION_CACHE_DIR"] = str(work / "compiled")
    return [_in_environment(item, shared) for item in found]


def _in_environment(item: Item, shared: dict[str, str]) -> Item:
    flags = " ".join(filter(None, (os.environ.get("XLA_FLAGS"), item.environment.get("XLA_FLAGS"))))
    environment = shared | dict(item.environment) | ({"XLA_FLAGS": flags} if flags else {})
    return Item(item.name, item.function, item.seconds, item.arguments, item.alone, environment, item.measured)


def _machine() -> Sequence[Item]:
    return (
        Item("packages", "benchmarks.gpu.machine:packages", 5),
        Item("machine", "benchmarks.gpu.machine:machine", 30, alone=True),
    )


def _check() -> list[Item]:
    precisions = ("float32", "bfloat16", "tensorfloat32")
    return [
        *_machine(),
        *(Item(f"parity {one}", "benchmarks.gpu.parity:parity", 60, {"precision": one}) for one in precisions[:2]),
        Item("resume", "benchmarks.gpu.check:resume", 180),
        Item("segmentation", "benchmarks.gpu.check:experiments", 150, {"mask": "segmentation"}),
        Item("seeds together", "benchmarks.gpu.check:seeds_together", 90),
        Item("gradients", "benchmarks.gpu.parity:gradients", 90, {"precisions": precisions}),
        Item("two runs deterministic", "benchmarks.gpu.check:repeated", 120, {"deterministic": True}),
        Item("two runs default", "benchmarks.gpu.check:repeated", 120, {"deterministic": False}),
        *(
            Item(
                f"memory {dataset}:{experiment} {stage}", "benchmarks.gpu.check:memory_taken", 60, _configuration(*one)
            )
            for one in CONFIGURATIONS
            for dataset, experiment, stage in [one]
        ),
        Item("grid", "benchmarks.gpu.check:experiments", 150, {"mask": "grid"}),
        Item("unmixed", "benchmarks.gpu.check:experiments", 150, {"mask": "none"}),
        Item("parity tensorfloat32", "benchmarks.gpu.parity:parity", 60, {"precision": "tensorfloat32"}),
        *(
            Item(
                f"cost of deterministic {stage}",
                "benchmarks.gpu.check:cost_of_deterministic",
                60,
                {"stage": stage},
                alone=True,
            )
            for stage in reversed(STAGES)
        ),
    ]


def _configuration(dataset: str, experiment: str, stage: str) -> dict[str, str]:
    return {"config": f"{dataset}:{experiment}", "stage": stage}


def _speed() -> list[Item]:
    return [
        *_machine(),
        *(  # first, because "train" needs them
            Item(f"seeds {one}", "benchmarks.gpu.speed:seeds_together", 75, {"stage": one}, alone=True)
            for one in STAGES
        ),
        *(
            Item(f"beside PyTorch {one}", "benchmarks.gpu.speed:beside_pytorch", 150, {"stage": one}, alone=True)
            for one in STAGES
        ),
        *(
            Item(
                f"program {one}",
                "benchmarks.gpu.speed:program",
                60,
                {"stage": one},
                alone=True,
                # A cached program would hide the time. JAX decides once per process, so these have one of their own.
                environment={"JAX_ENABLE_COMPILATION_CACHE": "false"},
            )
            for one in STAGES
        ),
        *(Item(f"kernels {one}", "benchmarks.gpu.speed:kernels", 40, {"stage": one}, alone=True) for one in STAGES),
        *(
            Item(f"steps per call {one}", "benchmarks.gpu.speed:steps_per_call", 45, {"stage": one}, alone=True)
            for one in STAGES
        ),
    ]


def _train() -> list[Item]:
    return [
        *_machine(),
        *(
            Item(
                f"{count} per class",
                "benchmarks.gpu.train:train",
                60,
                {"images_per_class": count},
                alone=True,
                measured=False,
            )
            for count in IMAGES_PER_CLASS
        ),
    ]
