"""The items of the kit's parts. Each is a function that is called in a process of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORK = ROOT / "runs" / "gpu"  # ignored by git; a later command on the same machine finds it

PASSED, DIFFERS, FAILED = "passed", "differs", "failed"
CUT_OFF, LEFT_OUT = "cut off", "left out"


@dataclass(frozen=True)
class Item:
    """A check or measurement.

    Attributes:
        name: its name in tables and files.
        function: the function that does it, as "module:function"; it gets a ``Context``.
        seconds: the estimated time on a GPU, including compilation.
        arguments: arguments of the function, in JSON's types.
        alone: no other item may run at the same time, because times are measured.
        environment: variables that its process needs from the start.
        measured: whether it ends by itself after about its estimate; otherwise it uses all the remaining time.
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
    """What an item's function gets.

    Attributes:
        arguments: the item's own arguments.
        tiny: whether this is a rehearsal, whose figures mean nothing.
        deadline: when the item must end, in seconds since the epoch.
        work: a folder for temporary files.
        output: the folder of the results.
        images: a folder or .zip of images; None if none was given.
        resume: the output of an earlier command; None if none was given.
        report: reports what is known so far, in case the time is over before the function returns.
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
        """The seconds that the function may still take."""
        return self.deadline - time.time()


def row(what: str, value: str, wanted: str = "", *, good: bool | None = None) -> dict[str, Any]:
    """Returns a line of the table: what was measured, the figure, the goal, and whether it is met (None: no goal)."""
    return {"what": what, "value": value, "wanted": wanted, "good": good}


def within(what: str, difference: float, tolerance: float) -> dict[str, Any]:
    """Returns a line about a difference with a tolerance; a difference that is not a number exceeds it."""
    return row(what, f"{difference:.2g}", f"at most {tolerance:.2g}", good=bool(difference <= tolerance))


def merged(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the status of an item with these lines."""
    return DIFFERS if any(line["good"] is False for line in rows) else PASSED
