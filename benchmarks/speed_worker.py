"""The process of one side of the speed comparison; ``benchmarks/speed.py`` starts it and sends it commands.

    python -m benchmarks.speed_worker ours '{"preset": {...}, "device": "cpu", "steps": 1, "loader_workers": 0}'

Each answer is a line of JSON. The first one describes the side's device. Then the command "round" is answered by the
seconds that a round took, and "end" by memory and operations. A side that cannot run answers with an "error".
"""

import json
import os
import resource
import sys
import time
from typing import Any, Protocol

from benchmarks.presets import Preset, Request
from chimeramix_jax.runtime import cpu_setup, host_memory


class Contestant(Protocol):
    """One side."""

    steps: int

    def about(self) -> dict[str, Any]:
        """Returns ``platform`` ("cpu" or "gpu"), ``device`` (its name), ``precision`` and ``versions``."""

    def prepare(self) -> None:
        """Does what the next round needs, but an iteration does not."""

    def round(self) -> None:
        """Runs ``steps`` iterations and waits for their end."""

    def afterwards(self) -> dict[str, Any]:
        """Returns ``peak_bytes`` of the device's memory and ``xla_flops`` per iteration; None for what is not known."""


def make(name: str, request: Request) -> Contestant:
    """Creates a side by its name: "ours", or the twin's kind of work.

    Imports only that side's library.

    Raises:
        RuntimeError: the side cannot run; the message says why.
    """
    host_memory.keep_freed_memory()  # makes the steps of both sides faster
    if name == "ours":
        if request.device == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
        # By default JAX reserves most of a GPU's memory at once, but the other sides need some too.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
        cpu_setup.prepare()
        from benchmarks.speed_ours import Ours

        return Ours(request)
    try:
        from benchmarks.speed_twin import Twin
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise RuntimeError("the comparison needs PyTorch: pip install torch") from None
    return Twin(request, name)


def main() -> None:
    """Answers commands until "end" or the end of the input."""
    answers, sys.stdout = sys.stdout, sys.stderr  # output of libraries must not look like an answer

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    name, description = sys.argv[1:]
    settings = json.loads(description)
    try:
        contestant = make(name, Request(**settings | {"preset": Preset(**settings["preset"])}))
    except RuntimeError as error:
        return answer({"error": " ".join(str(error).split())})
    answer(contestant.about() | {"steps": contestant.steps})
    for line in sys.stdin:
        if line.strip() == "end":
            return answer(at_the_end(contestant))
        contestant.prepare()
        started = time.perf_counter()
        contestant.round()
        answer({"seconds": time.perf_counter() - started})


def at_the_end(contestant: Contestant) -> dict[str, Any]:
    """Returns a side's memory and operations; the memory is the process's if the device's is not known."""
    process_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    content = contestant.afterwards()
    return content | {"peak_bytes": content["peak_bytes"] or process_peak}


if __name__ == "__main__":
    main()
