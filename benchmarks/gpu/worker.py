"""A process that runs items: its parent sends them line by line, and reads their results.

    python -m benchmarks.gpu.worker

Every input line is an item and its circumstances as JSON. Output lines are ``{"partial": ...}`` while an item runs and
finally ``{"result": ...}`` or ``{"error": one line, "traceback": ...}``. Output of libraries goes to standard error.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.gpu.items import Context


def main() -> None:
    """Runs items until the end of the input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries and their subprocesses must not look like an answer

    def answer(kind: str, content: Any, **others: Any) -> None:
        print(json.dumps({kind: content, **others}), file=answers, flush=True)

    for line in sys.stdin:
        request = json.loads(line)
        module, name = request["function"].split(":")
        context = Context(
            request["arguments"],
            request["tiny"],
            request["deadline"],
            Path(request["work"]),
            Path(request["output"]),
            _path(request["images"]),
            _path(request["resume"]),
            lambda partial: answer("partial", partial),
        )
        try:
            context.work.mkdir(parents=True, exist_ok=True)
            result = getattr(importlib.import_module(module), name)(context)
        except (Exception, SystemExit) as error:
            answer("error", _in_one_line(error), traceback=traceback.format_exc())
        else:
            answer("result", result)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _in_one_line(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:500]


if __name__ == "__main__":
    main()
