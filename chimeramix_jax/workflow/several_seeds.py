"""Carries out the runs of several seeds: each as if it were alone, but trained together."""

import contextlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.data.identity import HELD_OUT, TRAIN
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.run import Run
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.execution import available_devices
from chimeramix_jax.training.team import MemberOutcome, Team, raise_first_error
from chimeramix_jax.workflow.completion import completed_with_report


def train_and_evaluate_seeds(
    config: ConfigDict,
    workdir: str | os.PathLike[str] | None = None,
    *,
    stage: str = "all",
    retrain: bool = False,
    generator_workdir: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Completes the runs of all ``config.seeds``, training them together as far as possible.

    Each run is the one that ``train_and_evaluate`` would carry out for its seed, so a run started here can be continued
    alone, and vice versa.

    Args:
        config: the settings, as in ``configs/``; ``config.seed`` is ignored.
        workdir: the folder for ``seed-0/``, ``seed-1/``, ..., or, if it contains ``{seed}``, the directory of each run;
            None: every run's default directory.
        stage: as for ``train_and_evaluate``.
        retrain: as for ``train_and_evaluate``.
        generator_workdir: as for ``train_and_evaluate``; it must contain ``{seed}``, since a generator belongs to one
            seed.

    Returns:
        A dictionary per seed, in the order of ``config.seeds``: ``seed``, ``images`` (digests of the training and the
        held-out images, independent of their order), ``rollbacks`` (how often each part was rolled back, for parts that
        were), ``summary`` (rows for the table, if the stage has any), ``files`` (the paths written) and, if it was
        evaluated on validation images, ``validation`` (their number) and ``held_out_from`` (where they come from).

    Raises:
        InputError: a setting, the data or a directory is unsuitable. If that is so for some seeds only, it is said at
            once, and the other seeds have been finished when the error is raised; otherwise nothing has been trained.
    """
    if not config.get("seeds"):
        raise InputError("seeds: none are named, but this trains several runs; use train_and_evaluate for a single one")
    settings.check(config, stored=stage in settings.MEASURING_STAGES)
    requests = [
        _request(config, seed, workdir, generator_workdir, stage, retrain)
        for seed in settings.parse_seeds(config.seeds)
    ]
    with contextlib.ExitStack() as stack:
        runs, refused = _prepared(requests, stack)
        outcomes = _completed(runs)
        raise_first_error(outcomes, [f"seed {run.config.seed}" for run in runs])
        if refused:
            raise refused[0]
        for run in runs:
            run.end()
    return [_seed_results(run, outcome.result or {}) for run, outcome in zip(runs, outcomes, strict=True)]


def _request(
    config: ConfigDict,
    seed: int,
    workdir: str | os.PathLike[str] | None,
    generator_workdir: str | os.PathLike[str] | None,
    stage: str,
    retrain: bool,
) -> Request:
    """Returns the request for one seed."""
    if generator_workdir is not None:
        if settings.SEED_PLACE not in os.fspath(generator_workdir):
            raise InputError(
                f"--generator_workdir={generator_workdir}: a generator belongs to one seed, but seeds is "
                f"{config.seeds!r}; write {settings.SEED_PLACE} in place of the number, or leave it out"
            )
        generator_workdir = settings.with_seed(generator_workdir, seed)
    seed_config = settings.config_of_seed(config, seed)
    directory = settings.default_workdir(seed_config) if workdir is None else settings.seed_in(workdir, seed)
    return Request(seed_config, Workdir(directory), stage, retrain, generator_workdir)


def _prepared(requests: Sequence[Request], stack: contextlib.ExitStack) -> tuple[list[Run], list[InputError]]:
    """Returns the runs that can be carried out, which end with the stack, and the errors of the others.

    Raises the first error if none can.
    """
    runs: list[Run] = []
    refused: dict[int, InputError] = {}
    for request in requests:
        try:
            runs.append(stack.enter_context(prepared(request)))
        except InputError as error:
            refused[request.config.seed] = error
    if not runs:
        raise next(iter(refused.values()))
    for seed, reason in refused.items():
        print(f"seed {seed} is left out: {one_line(reason)}", file=sys.stderr)
    return runs, list(refused.values())


def _completed(runs: Sequence[Run]) -> list[MemberOutcome[dict[str, Any]]]:
    """Completes the runs; a single run is spread over all devices."""
    if len(runs) == 1:
        return [MemberOutcome(drive(completed_with_report(runs[0])))]
    config = runs[0].config
    for run in runs:
        run.seeds_together = len(runs)
    team: Team[dict[str, Any]] = Team(available_devices(config.devices), config.seeds_per_call)
    return team.run([partial(completed_with_report, run) for run in runs])


def _seed_results(run: Run, results: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a run's results that the table over all seeds needs."""
    identity, rollbacks = run.dataset.identity, results.get("rollbacks", {})
    seed_results = {
        "seed": run.config.seed,
        "summary": results.get("summary", []),
        "files": [os.fspath(path) for path in results["files"]],
        "images": {"train": identity.unordered(TRAIN), "held_out": identity.unordered(HELD_OUT)},
        "rollbacks": {part: len(records) for part, records in rollbacks.items() if records},
    }
    if "validation" in results:
        seed_results["validation"] = results["validation"]["examples"]
        seed_results["held_out_from"] = results["held_out_from"]
    return seed_results
