"""The process of one side of the speed comparison; ``benchmarks/speed.py`` starts it and asks it line by line.

    python -m benchmarks.speed_worker ours '{"preset": {...}, "device": "cpu", "steps": 1, "loader_workers": 0}'

The first answer says what the side runs on. Then "round" is answered by the seconds that a round took, and "end" by
what it took beside time. Every answer is a line of JSON; a side that cannot run answers with an "error".
"""

import json
import os
import resource
import sys
import time
from typing import Any, Protocol

from benchmarks.presets import Preset, Request
from chimeramix_jax.runtime import cpu_setup


class Contestant(Protocol):
    """One side."""

    steps: int

    def about(self) -> dict[str, Any]:
        """The ``platform`` ("cpu" or "gpu"), the ``device``'s own name, the ``precision``, and the ``versions``."""

    def round(self) -> None:
        """Runs ``steps`` iterations to their end."""

    def afterwards(self) -> dict[str, Any]:
        """``peak_bytes`` of the device's memory and ``xla_flops`` per iteration, each None where it is not known."""


def make(name: str, request: Request) -> Contestant:
    """The side called ``name``: "ours", or the twin by the work that it does.

    Only that side's library is imported, and only here.

    Raises:
        RuntimeError: it cannot run; the message says why.
    """
    if name == "ours":
        if request.device == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
        # JAX would take most of a GPU's memory at once; the other sides need their parts.
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
    """Answers until the end is asked for, or nobody asks any more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not be taken for an answer

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
        started = time.perf_counter()
        contestant.round()
        answer({"seconds": time.perf_counter() - started})


def at_the_end(contestant: Contestant) -> dict[str, Any]:
    """What a side took beside time; its memory is the process's where the device does not tell."""
    process_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    content = contestant.afterwards()
    return content | {"peak_bytes": content["peak_bytes"] or process_peak}


if __name__ == "__main__":
    main()
