"""Describes what a part of the kit found: its circumstances, and a short Markdown table."""

import datetime
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu.items import DIFFERS, FAILED, PASSED, ROOT

MOST_LINES = 60
_HEADING = ["| item | what | figure | goal | s |", "|---|---|---|---|---|"]
_LONGEST = 110  # characters of an error in the table


def circumstances(part: str, minutes: float, *, tiny: bool, commit: str | None = None) -> dict[str, Any]:
    """Returns when and with what a part was run, without what only JAX knows, which the item "machine" has."""
    return {
        "part": part,
        "tiny": tiny,
        "minutes": minutes,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "commit": commit or _commit(),
    }


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def table(about: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of at most ``MOST_LINES`` lines; if there are more, lines without a fault are left out first."""
    title = f"**gpu {about['part']}**{', a rehearsal whose figures mean nothing' if about['tiny'] else ''}"
    machine = next((one["data"]["summary"] for one in records if one["name"] == "machine" and "data" in one), None)
    line = f"{title}: {machine or 'no device was found'}; commit {about['commit']}; {about['started']}"
    counts = {status: sum(one["status"] == status for one in records) for status in _in_order(records)}
    heading = [line, "", ", ".join(f"{count} {status}" for status, count in counts.items()), "", *_HEADING]
    lines = [(bad, text) for record in records for bad, text in _lines(record)]
    room = MOST_LINES - len(heading)
    if len(lines) > room:
        kept = [place for place, (bad, _) in enumerate(lines) if bad][: room - 1]
        kept += [place for place, (bad, _) in enumerate(lines) if not bad][: room - 1 - len(kept)]
        hidden = len(lines) - len(kept)
        lines = [lines[place] for place in sorted(kept)] + [(False, f"| … | {hidden} more lines in the JSON | | | |")]
    return "\n".join([*heading, *(text for _, text in lines)])


def _in_order(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the statuses that occur, the good one first."""
    found = {one["status"] for one in records}
    first = [one for one in (PASSED, DIFFERS, FAILED) if one in found]
    return first + sorted(found.difference(first))


def _lines(record: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Returns the lines of an item, each with whether it reports a fault."""
    seconds = f"{record['seconds']:.0f}" if "seconds" in record else ""
    lines = []
    if "error" in record or not record.get("rows"):
        words = " ".join(f"{record['status']}{': ' if 'error' in record else ''}{record.get('error', '')}".split())
        words = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
        lines.append((record["status"] != PASSED, _cells(record["name"], words, "", "", seconds)))
        seconds = ""
    for one in record.get("rows", []):
        sign = {True: " ✓", False: " ✗", None: ""}[one["good"]]
        what = _cells(record["name"], one["what"], one["value"], one["wanted"] + sign, seconds)
        lines.append((one["good"] is False, what))
        seconds = ""
    return lines


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
