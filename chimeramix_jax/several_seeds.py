"""One configuration with several seeds: each run as if it were alone, but trained together."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import hosts
from chimeramix_jax.data.identity import HELD_OUT, TRAIN
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.run import Run, prepare
from chimeramix_jax.training.execution import available_devices
from chimeramix_jax.training.seeds import Team


def train_and_evaluate_seeds(
    config: ConfigDict,
    workdir: str | os.PathLike[str] | None = None,
    *,
    stage: str = "all",
    retrain: bool = False,
    generator_workdir: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """Does what is left of the runs of ``config.seeds``; of several processes each does its share.

    Each run is what ``train_and_evaluate`` makes of that seed: a run begun here can be continued alone, and the other
    way round.

    Args:
        config: the settings, as in ``configs/``; ``config.seed`` does not count.
        workdir: the folder that is to hold ``seed-0/``, ``seed-1/``, ..., or with ``{seed}`` in it the directory of
            each; None: every run's own default.
        stage: as for ``train_and_evaluate``.
        retrain: the same.
        generator_workdir: the same, with ``{seed}`` in it, as a generator is one seed's.

    Returns:
        Per seed, in the order of ``config.seeds``: ``seed``, ``images`` (digests of the training and of the held-out
        images, whatever their order), ``rollbacks`` (how often each part went back, if any did), ``summary`` (rows for
        the table) and ``files``; the last two as far as the stage has them, and those of all processes.

    Raises:
        InputError: a setting, the data or a directory does not fit. Nothing was trained then, unless the fault showed
            only later; the other seeds are finished in that case.
    """
    settings.check(config, stored=stage in settings.MEASURING_STAGES)
    seeds = settings.parse_seeds(config.seeds)
    own = seeds[jax.process_index() :: jax.process_count()]
    with hosts.first_process_first():
        runs, refusal = _prepared(config, own, workdir, generator_workdir, stage=stage, retrain=retrain)
    with contextlib.ExitStack() as locks:
        for run in runs:  # those that are never begun would keep others out for as long as this process lives
            locks.callback(run.lock.close)
        _agree(refusal, "the seeds are prepared")
        told, failure = _completed(runs)
    every = hosts.gathered(
        [told, None if failure is None else f"{type(failure).__name__}: {one_line(failure)}"], "the seeds are trained"
    )
    if failure is not None:
        raise failure
    _refuse_for_others([error for _, error in every])
    by_seed = {result["seed"]: result for results, _ in every for result in results}
    return [by_seed[seed] for seed in seeds]


def seed_workdir(config: ConfigDict, workdir: str | os.PathLike[str] | None) -> str:
    """The directory of one seed's run, whose settings these are, in a folder for all of them or where it is alone."""
    return settings.default_workdir(config) if workdir is None else settings.seed_in(workdir, config.seed)


def _prepared(
    config: ConfigDict,
    seeds: Sequence[int],
    workdir: str | os.PathLike[str] | None,
    generator_workdir: str | os.PathLike[str] | None,
    **asked: Any,
) -> tuple[list[Run], InputError | None]:
    """The runs of these seeds, checked and with their data; or why there is one that cannot be."""
    runs = []
    if generator_workdir is not None and settings.SEED_PLACE not in os.fspath(generator_workdir):
        return [], InputError(
            f"--generator_workdir={generator_workdir}: a generator is one seed's, but seeds is {config.seeds!r}; "
            f"write {settings.SEED_PLACE} in the place of the number, or leave it out"
        )
    try:
        for seed in seeds:
            alone = settings.config_of_seed(config, seed)
            generator = None if generator_workdir is None else settings.with_seed(generator_workdir, seed)
            runs.append(prepare(alone, seed_workdir(alone, workdir), generator_workdir=generator, **asked))
    except BaseException as error:
        for run in runs:
            run.lock.close()  # other processes may work there, now that this one will not
        if isinstance(error, InputError):
            return [], error
        raise
    return runs, None


def _completed(runs: Sequence[Run]) -> tuple[list[dict[str, Any]], BaseException | None]:
    """What the runs have to tell, and the first error of any."""
    if not runs:
        return [], None
    config = runs[0].config
    if len(runs) == 1:  # as if alone: with all devices for it
        completed = [_tried(runs[0])]
    else:
        team = Team(available_devices(config.devices), config.seeds_per_call)
        outcomes = team.run([run.complete for run in runs])
        completed = [(outcome.result, outcome.error) for outcome in outcomes]
    told = [_told(run, result) for run, (result, _) in zip(runs, completed, strict=True) if result is not None]
    return told, next((error for _, error in completed if error is not None), None)


def _tried(run: Run) -> tuple[dict[str, Any] | None, BaseException | None]:
    try:
        return run.complete(), None
    except Exception as error:  # the other processes have to know before it is raised
        return None, error


def _told(run: Run, results: dict[str, Any]) -> dict[str, Any]:
    """The part of a run's results that the other processes need, in JSON's types."""
    files = [os.fspath(path) for path in results["files"]]
    identity = run.dataset.identity
    images = {"train": identity.unordered(TRAIN), "held_out": identity.unordered(HELD_OUT)}
    told = {"seed": run.config.seed, "summary": results.get("summary", []), "files": files, "images": images}
    told["rollbacks"] = {part: len(found) for part, found in results.get("rollbacks", {}).items() if found}
    return told | ({"validation": results["validation"]["examples"]} if "validation" in results else {})


def _agree(refusal: InputError | None, what: str) -> None:
    """Ends all processes where one has been refused."""
    told = hosts.gathered(None if refusal is None else str(refusal), what)
    if refusal is not None:
        raise refusal
    _refuse_for_others(told)


def _refuse_for_others(errors: Sequence[str | None]) -> None:
    for index, error in enumerate(errors):
        if error is not None:
            raise InputError(f"process {index}: {error}")
