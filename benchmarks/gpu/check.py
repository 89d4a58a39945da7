"""Checks whole runs, their repetition and their memory on this device; ``parity`` checks what a step computes."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

import chimeramix_jax
from benchmarks import seeds, speed_ours
from benchmarks.gpu import machine, program
from benchmarks.gpu.items import ROOT, Context, row, within
from benchmarks.gpu.parity import TOLERANCES, difference
from benchmarks.presets import PRESETS
from chimeramix_jax import config as shipped
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.training.execution import OneDevice
from chimeramix_jax.training.team import Stacked

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
MOST_FOR_DETERMINISM = 0.25
STACKED_TOLERANCE = (
    1e-2  # for the change in three float32 steps; Adam turns even the smallest gradients into full steps
)


def resume(context: Context) -> dict[str, Any]:
    """Compares a deterministic run that is stopped in both stages with one that is not; reads its checkpoint on CPU."""
    changes = program.settings(tiny=context.tiny, deterministic=True)
    stopped, straight = (_fresh(context.work / name / "run") for name in ("stopped", "straight"))
    rows = []
    for stage in ("generator", "classifier"):
        run = program.Program(stopped, "digits", changes)
        caught = run.stop_when(partial(_begun, stopped, stage), context.deadline)
        rows.append(row(f"stopped in the {stage}'s training", "yes" if caught else "no", "yes", good=caught))
    program.Program(stopped, "digits", changes).wait(context.deadline)
    program.Program(straight, "digits", changes).wait(context.deadline)
    machine.prepare()
    ours, theirs = restored_arrays(stopped), restored_arrays(straight)
    rows.append(_same("resumed run and uninterrupted one", ours, theirs, wanted=True))
    context.report({"rows": rows})
    file = context.work / "on_cpu.npz"
    command = [sys.executable, "-m", "benchmarks.gpu.restored", str(straight), str(file)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, check=True, stdout=sys.stderr)
    with np.load(file) as arrays:
        on_cpu = dict(arrays)
    rows.append(_same("checkpoint, read here and on CPU", _parameters(theirs), _parameters(on_cpu), wanted=True))
    apart = max(difference(theirs[name], on_cpu[name]) for name in theirs if name.startswith("outputs/"))
    kind = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    rows.append(within(f"its networks' outputs, {kind} here, float32 on CPU", apart, TOLERANCES[kind]["outputs"]))
    return {"rows": rows}


def _begun(workdir: Path, stage: str) -> bool:
    """Returns whether a run has finished an epoch of a stage."""
    return program.epochs_done(workdir, stage) > 0


def restored_arrays(workdir: Path) -> dict[str, np.ndarray]:
    """Returns ``restored.arrays``, which is imported only now because the import starts JAX."""
    from benchmarks.gpu import restored

    return restored.arrays(workdir)


def _parameters(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if name.startswith("parameters/")}


def _same(what: str, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], *, wanted: bool) -> dict[str, Any]:
    """Returns a line that says whether two runs' arrays are equal bit for bit; ``wanted``: whether they must be."""
    unequal = [name for name in one if one[name].tobytes() != other[name].tobytes()]
    if not unequal:
        return row(what, f"all {len(one)} arrays equal", "equal" if wanted else "", good=True if wanted else None)
    apart = difference(_parameters(one), _parameters(other))
    value = f"{len(unequal)} of {len(one)} arrays differ, by {apart:.1g}"
    return row(what, value, "equal" if wanted else "", good=False if wanted else None)


def _fresh(workdir: Path) -> Path:
    """Returns a new directory. Alone in its folder, a run finds no generator that it could use."""
    number = 0
    while (place := workdir.with_name(f"{workdir.name}-{number}")).exists():
        number += 1
    return place


def repeated(context: Context) -> dict[str, Any]:
    """Compares two equal runs, each compiled separately, as on two days."""
    deterministic = context.arguments["deterministic"]
    changes = program.settings(tiny=context.tiny, deterministic=deterministic)
    workdirs = [_fresh(context.work / f"{number}" / "run") for number in range(2)]
    runs = []
    for workdir in workdirs:
        cold = {"JAX_COMPILATION_CACHE_DIR": str(workdir.with_suffix(".compiled"))}
        runs.append(program.Program(workdir, "digits", changes, {} if context.tiny else cold))
        if context.tiny:
            runs[-1].wait(context.deadline)
    for run in runs:
        run.wait(context.deadline)
    machine.prepare()
    arrays = [restored_arrays(workdir) for workdir in workdirs]
    return {"rows": [_same("two runs", *arrays, wanted=deterministic)]}


def experiments(context: Context) -> dict[str, Any]:
    """Trains the experiments with a kind of mask at the published widths, on the digits, through the whole program."""
    machine.prepare()
    outcomes: dict[str, Any] = {}
    configs = {name: shipped.load(f"digits:{name}") for name in EXPERIMENTS}
    chosen = [name for name, config in configs.items() if config.mixing.mask == context.arguments["mask"]]
    chosen = chosen[: 2 if context.tiny else None]
    for experiment in chosen:
        config = configs[experiment]
        changes = program.settings(tiny=context.tiny) | {"generator.epochs": 1, "classifier.epochs": 1}
        config.update_from_flattened_dict(changes | {"dataset.data_dir": str(context.work / "data")})
        started = time.time()
        try:
            found = chimeramix_jax.train_and_evaluate(config, _fresh(context.work / experiment))
        except Exception as error:
            outcomes[experiment] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        else:
            outcomes[experiment] = {"top1": found["test"]["top1"], "loss": found["test"]["loss"]}
        outcomes[experiment]["seconds"] = time.time() - started
        summary = _experiments_row(outcomes, len(chosen))
        context.report({"rows": [summary], "data": outcomes})
    return {"rows": [summary], "data": outcomes}


def _experiments_row(outcomes: Mapping[str, Any], wanted: int) -> dict[str, Any]:
    good = [name for name, one in outcomes.items() if np.isfinite(one.get("loss") or np.nan)]
    bad = [f"{name} ({one.get('error', 'loss not finite')})" for name, one in outcomes.items() if name not in good]
    value = f"{len(good)} of {wanted}" + (f"; {bad[0]}" if bad else "")
    return row("trained, measured and reported, loss finite", value, f"{wanted} of {wanted}", good=len(good) == wanted)


def seeds_together(context: Context) -> dict[str, Any]:
    """Compares three steps of three seeds stacked in one call with the same steps of each seed alone, in float32."""
    machine.prepare()
    rows = []
    for name in ("generator", "classifier"):
        preset = dataclasses.replace(PRESETS[name, "tiny" if context.tiny else "paper"], precision="float32")
        stage = speed_ours.stage(preset, speed_ours.configured(preset), steps=3)
        together = Stacked(seeds.step_of(stage), jax.local_devices()[:1], 3).run
        initial = _after_steps(stage, seeds.in_turn, count=0)
        alone, stacked = (_after_steps(stage, run) for run in (seeds.in_turn, together))
        apart = [
            difference(jax.tree.map(np.subtract, one, start), jax.tree.map(np.subtract, other, start))
            for start, other, one in zip(initial, alone, stacked, strict=True)
        ]
        rows.append(within(f"{name}: change in 3 steps, stacked and alone", max(apart), STACKED_TOLERANCE))
        context.report({"rows": rows})
    return {"rows": rows}


def _after_steps(stage: Any, run: seeds.Run, count: int = 3, number_of_seeds: int = 3) -> list[PyTree]:
    """Returns the networks of every seed after ``count`` steps."""
    compiled = OneDevice().compiled(seeds.step_of(stage))
    carries, draws = seeds.begin(stage, number_of_seeds)
    for number in range(count):
        carries = [completed.carry for completed in run(seeds.calls_of(stage, compiled, carries, draws, number))]
    kept = ("generator", "discriminator", "parameters")
    return [jax.device_get({name: carry.state[name] for name in kept if name in carry.state}) for carry in carries]


def memory_taken(context: Context) -> dict[str, Any]:
    """Measures the device's memory peak in a process that compiles its steps and in one that finds them compiled."""
    description = json.dumps(dict(context.arguments) | {"tiny": context.tiny})
    command = [sys.executable, "-m", "benchmarks.gpu.memory_taken", description]
    found = []
    for _ in range(1 if context.tiny else 2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: {' '.join(done.stderr.split())[-400:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    peaks = [f"{one['peak'] / 2**20:.0f} MiB" if one["peak"] else "not reported by the device" for one in found]
    good = None if found[-1]["peak"] is None else found[-1]["peak"] <= 10e9
    value = f"{peaks[-1]} ({peaks[0]} while compiling; XLA's account {found[-1]['by_xla'] / 2**20:.0f} MiB)"
    rows = [row("peak", value, "at most 10 GB", good=good)]
    if not found[-1]["finite"]:
        rows.append(row("losses", "not finite", "finite", good=False))
    return {"rows": rows, "data": found}


@contextlib.contextmanager
def xla_flags(flags: str) -> Iterator[None]:
    """Adds XLA flags to the environment of processes that are started within it."""
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{before or ''} {flags}".strip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before


def cost_of_deterministic(context: Context) -> dict[str, Any]:
    """Compares a stage's iterations with deterministic operations and without, in alternating rounds."""
    from benchmarks.gpu import sides

    stage = context.arguments["stage"]
    request = sides.request(stage, tiny=context.tiny)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(sides.Contestant("ours", request))
        with xla_flags(DETERMINISTIC):
            deterministic = stack.enter_context(sides.Contestant("ours", request))
        sides.alternate([plain, deterministic], 2 if context.tiny else 7, context)
    figures = sides.figures(deterministic, plain, request.preset)
    cost = figures["time_over_ours"] - 1
    good = None if context.tiny else cost <= MOST_FOR_DETERMINISM
    return {
        "rows": [row("deterministic operations take longer by", f"{cost:.0%}", "at most 25 %", good=good)],
        "data": {"seconds": {"default": plain.seconds, "deterministic": deterministic.seconds}},
    }
