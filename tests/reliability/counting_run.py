"""Stands in for ``main.py`` in tests of launchers: locks its directory and counts, instead of training.

The count is its checkpoint: a run that is started again continues from it. A run counts to ``COUNT_TO``, and fails if
its directory's name contains the value of ``FAILING``. Of several seeds, one begins when another has ended.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir

arguments = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
stage = arguments["stage"]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))


def complete(config, workdir, generator_workdir):
    """Completes the run of one seed; raises InputError if it fails."""
    Workdir(workdir).claim(config)
    if os.environ.get("FAILING", "nothing") in workdir.name:
        raise InputError("no")
    if stage == "classifier" and not (generator_workdir / "generator").exists():
        raise InputError("no generator")
    count_on(workdir / f"{stage}.count")
    if stage == "generator":
        (workdir / "generator").mkdir()
        (workdir / "mixing.png").touch()
        return
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


def count_on(checkpoint):
    """Counts from the checkpoint, if there is one; ends the program after a request to stop."""
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


problems = []
with contextlib.ExitStack() as stack:
    try:
        config = settings.load(arguments["config"])
        settings.override(config, [argument for argument in sys.argv if argument.startswith("--config.")])
        settings.check(config, environment=False)
        seeds = settings.parse_seeds(config.seeds) if config.seeds else [config.seed]
        folders = {seed: Path(settings.with_seed(arguments["workdir"], seed)) for seed in seeds}
        for workdir in folders.values():
            stack.enter_context(lock.locked(workdir))
    except InputError as error:
        print(f"chimeramix: {error}")
        sys.exit(2)
    for seed, workdir in folders.items():
        generator_workdir = Path(settings.with_seed(arguments.get("generator_workdir", str(workdir)), seed))
        try:
            complete(settings.config_of_seed(config, seed) if config.seeds else config, workdir, generator_workdir)
        except InputError as error:
            problems.append(error)
if problems:
    sys.exit(f"chimeramix: {problems[0]}")
