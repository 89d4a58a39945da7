"""What a part of the kit consists of: items, each a function that a process of its own calls."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORK = ROOT / "runs" / "gpu"  # ignored by git; is still there in a later command on the same machine

PASSED, DIFFERS, FAILED = "passed", "differs", "failed"
CUT_OFF, LEFT_OUT = "cut off", "left out"


@dataclass(frozen=True)
class Item:
    """One thing to find out.

    Attributes:
        name: what it is called in tables and files.
        function: that finds it out, as "module:function"; it is given a ``Context``.
        seconds: that it takes on a GPU by estimate, compilation included.
        arguments: for the function, in JSON's types.
        alone: nothing else may run meanwhile, since times are measured.
        environment: variables that its process needs from its start.
        measured: whether it ends by itself after about its estimate; one that does not takes all the time there is.
    """

    name: str
    function: str
    seconds: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    measured: bool = True


@dataclass
class Context:
    """What an item's function is told.

    Attributes:
        arguments: the item's own.
        tiny: whether this is a rehearsal, whose figures say nothing.
        deadline: when it has to be done at the latest, in seconds since the epoch.
        work: a folder for its files, which are not kept.
        output: where results are gathered.
        images: a folder of images; None where none was given.
        resume: what an earlier command left in its output; None where nothing was given.
        report: hands on what is known so far, in case that the time is over before the function has returned.
    """

    arguments: Mapping[str, Any]
    tiny: bool
    deadline: float
    work: Path
    output: Path
    images: Path | None
    resume: Path | None
    report: Callable[[dict[str, Any]], None]

    @property
    def seconds_left(self) -> float:
        """How long the function may still take."""
        return self.deadline - time.time()


def row(what: str, value: str, wanted: str = "", *, good: bool | None = None) -> dict[str, Any]:
    """A line of the table: what was measured, the figure, the goal, and whether it is reached (None: there is none)."""
    return {"what": what, "value": value, "wanted": wanted, "good": good}


def within(what: str, difference: float, tolerance: float) -> dict[str, Any]:
    """A line about a difference that may be as large as a tolerance; one that is not a number may not."""
    return row(what, f"{difference:.2g}", f"at most {tolerance:.2g}", good=bool(difference <= tolerance))


def merged(rows: Sequence[dict[str, Any]]) -> str:
    """What becomes of an item that has these lines."""
    return DIFFERS if any(one["good"] is False for one in rows) else PASSED
