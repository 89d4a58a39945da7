"""A process that works on items: its parent names them line by line, and reads what comes of each.

    python -m benchmarks.gpu.worker

Every line in is an item and its circumstances as JSON. Lines out are ``{"partial": ...}`` while it works and at the
end ``{"result": ...}``, or ``{"error": one line, "traceback": ...}``. What libraries print goes to standard error.
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
    """Works until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that nothing that libraries, or what they start, print is taken for an answer

    def answer(kind: str, content: Any, **others: Any) -> None:
        print(json.dumps({kind: content, **others}), file=answers, flush=True)

    for line in sys.stdin:
        told = json.loads(line)
        module, name = told["function"].split(":")
        context = Context(
            told["arguments"],
            told["tiny"],
            told["deadline"],
            Path(told["work"]),
            Path(told["output"]),
            _path(told["images"]),
            _path(told["resume"]),
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
