"""Checks and measures on a GPU, within a time limit, what cannot be found out without one; see ``docs/gpu.md``.

    python -m benchmarks.gpu check --minutes=9 --output=DIR
    python -m benchmarks.gpu speed --minutes=9 --output=DIR
    python -m benchmarks.gpu train --minutes=9 --output=DIR --images=FOLDER

Items run in order of importance, in processes of their own. An item that no longer fits into the time is left out; an
item that fails is reported, and the next one follows. DIR gets PART.json, rewritten after every item, PART.md, the
table that is also printed, and PART.log with everything that the items' processes printed. ``--tiny`` rehearses the
part at sizes that a CPU can handle; the figures then mean nothing. The exit code is 0 if all items passed and 1
otherwise.
"""

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.gpu import plan, report
from benchmarks.gpu.items import CUT_OFF, PASSED, WORK
from benchmarks.gpu.runner import Circumstances, Runner
from chimeramix_jax import files

SECONDS_TO_END = 10.0  # reserved for ending running items and for writing
JOBS = 4  # items at a time, if they measure no times


def main() -> None:
    """Runs a part; prints its table."""
    started = time.time()
    arguments = parse_arguments()
    output = Path(arguments.output).absolute()
    output.mkdir(parents=True, exist_ok=True)
    work = Path(arguments.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    items = plan.items(arguments.part, work=work)
    if arguments.only:
        items = [item for item in items if item.name.startswith(tuple(arguments.only.split(",")))]
    about = report.circumstances(arguments.part, arguments.minutes, tiny=arguments.tiny, commit=arguments.commit)

    def write(records: Sequence[dict[str, Any]]) -> None:
        content = about | {"seconds": round(time.time() - started, 1), "items": records}
        for folder in (output, work):  # a later part on the same machine finds the second
            files.write_json(folder / f"{arguments.part}.json", content)
        files.write_bytes(output / f"{arguments.part}.md", (report.table(about, records) + "\n").encode())

    circumstances = Circumstances(
        arguments.tiny,
        str(work / arguments.part),
        str(output),
        _absolute(arguments.images),
        _absolute(arguments.resume),
    )
    end = started + 60 * arguments.minutes - SECONDS_TO_END
    log = output / f"{arguments.part}.log"
    runner = Runner(items, circumstances, end, arguments.jobs, log, write)
    signal.signal(signal.SIGTERM, _stop)
    try:
        runner.run()
    except KeyboardInterrupt:
        for record in runner.records:
            if record["status"] == CUT_OFF and "seconds" not in record:
                record["error"] = "the kit was stopped"
    write(runner.records)
    print(report.table(about, runner.records))
    sys.exit(0 if all(record["status"] == PASSED for record in runner.records) else 1)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=plan.PARTS)
    parser.add_argument("--minutes", type=float, default=9, help="time limit of the whole command")
    parser.add_argument("--output", required=True, help="folder for the results; created if missing")
    parser.add_argument("--images", help="train: folder, or .zip of one, with train/<class>/* and test/<class>/*")
    parser.add_argument(
        "--resume", help="train: the --output of an earlier command, to resume from; may also hold its speed.json"
    )
    parser.add_argument("--commit", help="what git describe says of the checkout, if it is taken along without .git")
    parser.add_argument("--tiny", action="store_true", help="rehearse at sizes that a CPU can handle")
    parser.add_argument("--only", help="beginnings of items' names, separated by commas; all other items are left out")
    parser.add_argument("--jobs", type=int, default=min(JOBS, os.cpu_count() or 1), help="how many items run at a time")
    parser.add_argument("--work", default=str(WORK), help="folder for temporary files, such as compiled programs")
    parsed = parser.parse_args(arguments)
    if not (math.isfinite(parsed.minutes) and 60 * parsed.minutes > SECONDS_TO_END):
        parser.error(f"--minutes: {parsed.minutes} must be more than {SECONDS_TO_END:.0f} seconds")
    if parsed.jobs < 1:
        parser.error("--jobs must be at least 1")
    if parsed.part == "train" and not parsed.tiny and parsed.images is None:
        parser.error("--images: train needs it")
    for name in ("images", "resume"):
        path = getattr(parsed, name)
        if path is not None and not Path(path).exists():
            parser.error(f"--{name}: {path} does not exist")
    return parsed


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
