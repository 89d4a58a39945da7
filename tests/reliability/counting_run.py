"""Stands in for ``main.py`` in tests of launchers: locks its directory and counts, instead of training.

The count is its checkpoint: a run that is started again continues from it. A run counts to ``COUNT_TO``, and fails if
its directory's name contains the value of ``FAILING``.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from chimeramix_jax import config as settings
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir

arguments = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
workdir, stage = Path(arguments["workdir"]), arguments["stage"]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))

with contextlib.ExitStack() as stack:
    try:
        stack.enter_context(lock.locked(workdir))
    except lock.InUseError as error:
        print(f"chimeramix: {error}")
        sys.exit(2)
    config = settings.load(arguments["config"])
    settings.override(config, [argument for argument in sys.argv if argument.startswith("--config.")])
    Workdir(workdir).claim(config)
    if os.environ.get("FAILING", "nothing") in workdir.name:
        sys.exit("chimeramix: no")
    if stage == "classifier" and not (Path(arguments.get("generator_workdir", workdir)) / "generator").exists():
        sys.exit("chimeramix: no generator")
    checkpoint = workdir / f"{stage}.count"
    count = int(checkpoint.read_text()) if checkpoint.exists() else 0
    print(
        f"{stage}: process {os.getpid()} starts at {count}, CUDA={os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True
    )
    while count < int(os.environ["COUNT_TO"]):
        time.sleep(0.1)
        count += 1
        temporary = checkpoint.with_suffix(".new")
        temporary.write_text(str(count))
        temporary.replace(checkpoint)
        if stopped:
            print(f"chimeramix: stopped (SIGTERM) at {count}", flush=True)
            sys.exit(143)
    if stage == "generator":
        (workdir / "generator").mkdir()
        (workdir / "mixing.png").touch()
    else:
        measured = {"top1": 0.5, "macro_accuracy": 0.5, "examples": 697}
        results = {
            "config": settings.config_to_dict(config),
            "class_names": ["one", "two"],
            "train_indices": [0, 1],
            "device": {"backend": "cpu", "kind": "cpu"},
            "seconds": {"classifier": 1.0},
            config.dataset.evaluate_on: measured,
        }
        if config.compare_with_baseline and config.mixing.mask != "none":
            results["baseline"] = {config.dataset.evaluate_on: measured}
        (workdir / "results.json").write_text(json.dumps(results))
