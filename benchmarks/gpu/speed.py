"""Measures how fast the training steps are and where their time goes: the items of the part "speed"."""

import contextlib
import dataclasses
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jax

from benchmarks import deviceless, flops, memory, seeds, speed_ours
from benchmarks.gpu import machine, sides
from benchmarks.gpu.items import Context, row
from benchmarks.presets import PRESETS, Preset
from chimeramix_jax.training.calls import Carry, EpochDraws, Span, Steps
from chimeramix_jax.training.execution import OneDevice
from chimeramix_jax.training.team import Stacked

ROUNDS = 7
LOADER_WORKERS = 8
STEPS_PER_CALL = (1, 8, 64)
CALLS = 5  # timed calls
MOST_KERNELS = 20
SHOWN_KERNELS = 8  # in the table; the JSON has all
SEEDS = (1, 5)

# Goals for a GPU of the H100's class.
SHARE_OF_PEAK, TIMES_FASTER, TIMES_OF_ONE = 0.45, {"generator": 5.0, "classifier": 10.0}, 2.0


def preset_of(context: Context) -> Preset:
    """Returns the published sizes of the item's stage, or tiny ones."""
    return PRESETS[context.arguments["stage"], "tiny" if context.tiny else "paper"]


def stage_of(preset: Preset, steps: int = 1) -> Any:
    """Returns a stage of these sizes on images of noise."""
    return speed_ours.stage(preset, speed_ours.configured(preset), steps)


def beside_pytorch(context: Context) -> dict[str, Any]:
    """Compares a stage's iterations with the twin's: published, lean, compiled and, for the classifier, loading."""
    stage = context.arguments["stage"]
    request = sides.request(stage, tiny=context.tiny)
    wanted = [("ours", request, ""), ("published", request, ""), ("lean", request, ""), (sides.COMPILED, request, "")]
    if stage == "classifier":
        loaded = dataclasses.replace(request, loader_workers=1 if context.tiny else LOADER_WORKERS)
        wanted.append(("published", loaded, f"PyTorch, published, {loaded.loader_workers} loaders"))
    errors, found = {}, []
    with contextlib.ExitStack() as stack:
        for name, side_request, title in wanted:
            try:
                side = stack.enter_context(sides.Contestant(name, side_request, title))
                side.first()
                found.append(side)
            except SystemExit as error:  # the comparison continues without it, unless it is ours
                errors[title or sides.TITLES[name]] = str(error)
            failures = [row(name, f"failed: {error}"[:200], "", good=False) for name, error in errors.items()]
            context.report({"rows": failures, "data": errors})
        if not found or found[0].name != "ours":
            raise RuntimeError(next(iter(errors.values()), "nothing ran"))
        sides.alternate(found, 1 if context.tiny else ROUNDS, context)
    figures = {side.title: sides.figures(side, found[0], request.preset) for side in found}
    rows = [_side_row(title, one, stage, judged=not context.tiny) for title, one in figures.items()]
    return {"rows": rows + failures, "data": {"sides": figures, "errors": errors}}


def _side_row(title: str, one: dict[str, Any], stage: str, *, judged: bool) -> dict[str, Any]:
    """Returns a side's line, with the goal that it is judged by, if any."""
    share = one["share_of_peak"]
    cells = [
        f"{one['ms_per_iteration']:.3g} ms",
        f"{1e3 / one['ms_per_iteration']:.4g} it/s",
        f"{one['time_over_ours']:.2f} of ours",
        *([] if share is None else [f"{share:.1%} of peak"]),
        f"{one['peak_bytes'] / 2**20:.0f} MiB",
        f"{one['seconds_to_start']:.1f} s to start",
    ]
    wanted, good = "", None
    if title == sides.TITLES["ours"] and stage == "generator":
        wanted, good = f"at least {SHARE_OF_PEAK:.0%} of peak", None if share is None else share >= SHARE_OF_PEAK
    goal = TIMES_FASTER[stage]
    if title == sides.TITLES["published"] if stage == "generator" else "loaders" in title:
        wanted, good = f"at least {goal:.0f} of ours", one["time_over_ours"] >= goal
    return row(title, ", ".join(cells), wanted, good=good if judged else None)


def program(context: Context) -> dict[str, Any]:
    """Shows how long a step takes to compile, which kernels it has, and what they move beside the floor."""
    machine.prepare()
    preset = preset_of(context)
    mixing = dataclasses.replace(preset, mixing_probability=1.0)  # a step that mixes: one side of the branch
    stage = stage_of(mixing)
    started = time.perf_counter()
    compiled = memory.compiled(stage)
    seconds = time.perf_counter() - started
    given, working = memory.memory(compiled)
    kernels = deviceless.kernels(compiled.as_text() or "")
    moved = sum(kernel.moved for kernel in kernels)
    in_float32 = speed_ours.computation_dtype(preset.precision) is None
    floor = flops.traffic(mixing, 4 if in_float32 else 2)
    largest = sorted(kernels, key=lambda kernel: -kernel.moved)[:MOST_KERNELS]
    rows = [
        row("traced and compiled in", f"{seconds:.1f} s"),
        row("moved by its kernels, by XLA's account", f"{moved / 1e9:.3g} GB", f"floor {floor / 1e9:.3g} GB"),
        row("kernels; memory by XLA's account", f"{len(kernels)}; {(given + working) / 2**20:.0f} MiB"),
    ]
    data = {"seconds": seconds, "moved": moved, "floor": floor, "given": given, "working": working}
    return {"rows": rows, "data": data | {"largest": [dataclasses.asdict(kernel) for kernel in largest]}}


def kernels(context: Context) -> dict[str, Any]:
    """Lists the kernels that take most of a step's time, by the profiler.

    As in training, only some of the classifier's batches are mixed, so its kernels of mixing are not in every step.
    """
    machine.prepare()
    preset = preset_of(context)
    stage, steps = stage_of(preset), 2 if context.tiny else 20
    step = jax.jit(seeds.step_of(stage), donate_argnums=0)
    (carry,), (draws,) = seeds.begin(stage, 1)

    def run(carry: Carry, count: int) -> Carry:
        for number in range(count):
            carry = step(carry, stage.inputs, draws, Span(0, number, number + 1))
        return jax.block_until_ready(carry)

    carry = run(carry, 3)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run(carry, steps)
        (file,) = Path(folder).rglob("*.xplane.pb")
        spent, counts = _durations(file)
    total = sum(spent.values())
    listed: list[dict[str, Any]] = [
        {"name": name, "us_per_step": spent[name] / steps / 1e3, "per_step": counts[name] / steps}
        for name, _ in spent.most_common(MOST_KERNELS)
    ]
    mixed = f"; {preset.mixing_probability:.0%} of the batches are mixed" if preset.stage == "classifier" else ""
    number = sum(counts.values()) / steps
    rows = [row("all kernels", f"{total / steps / 1e6:.3g} ms a step, {number:.0f} of them{mixed}")]
    rows += [
        row(one["name"][:70], f"{one['us_per_step']:.0f} us a step, {one['us_per_step'] * steps * 1e3 / total:.0%}")
        for one in listed[:SHOWN_KERNELS]
    ]
    return {"rows": rows, "data": {"steps": steps, "nanoseconds": total, "largest": listed}}


def _durations(file: Path) -> tuple[Counter[str], Counter[str]]:
    """Returns nanoseconds and calls by name, of the device's kernels or, if the profile has none, of XLA's operations.

    Raises:
        RuntimeError: the profile has neither.
    """
    planes = list(jax.profiler.ProfileData.from_file(str(file)).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    spent: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for plane in devices or planes:
        lines = list(plane.lines)
        if devices:
            streams = [line for line in lines if line.name.startswith("Stream")]
            lines = streams or [line for line in lines if line.name == "XLA Ops"]
        for line in lines:
            for event in line.events:
                if devices or any(key == "hlo_op" for key, _ in event.stats):
                    spent[event.name] += int(event.duration_ns)
                    counts[event.name] += 1
    if not spent:
        names = [f"{plane.name}: {', '.join(line.name for line in plane.lines)}" for plane in planes]
        raise RuntimeError(f"the profile has no kernels; it has {'; '.join(names)[:300]}")
    return spent, counts


def _several_steps(stage: Any, count: int) -> Steps:
    """Returns ``count`` steps of a stage in one call, in the form that ``benchmarks/seeds.py`` times."""
    step = seeds.step_of(stage)

    def steps(carry: Carry, inputs: Any, draws: EpochDraws, span: Span) -> Carry:
        def body(index: Any, carry: Carry) -> Carry:
            place = count * span.first + index
            return step(carry, inputs, draws, Span(span.epoch, place, place + 1))

        return jax.lax.fori_loop(0, count, body, carry)

    return steps


def seeds_together(context: Context) -> dict[str, Any]:
    """Compares a step of one seed and of five that share a call, with many steps per call as in training."""
    machine.prepare()
    stage, count = stage_of(preset_of(context)), 2 if context.tiny else STEPS_PER_CALL[-1]
    rows, data = [], {}
    for number_of_seeds in SEEDS:
        steps = _several_steps(stage, count)
        compiled = OneDevice().compiled(steps)
        together = Stacked(steps, jax.local_devices()[:1], number_of_seeds).run
        run = seeds.in_turn if number_of_seeds == 1 else together
        first, median, _ = seeds.timed(stage, compiled, run, number_of_seeds, 1 if context.tiny else CALLS)
        data[str(number_of_seeds)] = {"ms_per_step": 1e3 * median / count, "seconds_to_start": first - median}
        ratio = data[str(number_of_seeds)]["ms_per_step"] / data["1"]["ms_per_step"]
        value = f"{1e3 * median / count:.3g} ms a step of all, {ratio:.2f} of one"
        judged = number_of_seeds > 1 and not context.tiny
        wanted = f"at most {TIMES_OF_ONE:.0f} of one" if number_of_seeds > 1 else ""
        rows.append(row(f"{number_of_seeds} seeds", value, wanted, good=ratio <= TIMES_OF_ONE if judged else None))
        context.report({"rows": rows, "data": data})
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    if peak is not None:
        rows.append(row(f"peak memory, {SEEDS[-1]} seeds", f"{peak / 2**20:.0f} MiB"))
    return {"rows": rows, "data": data}


def steps_per_call(context: Context) -> dict[str, Any]:
    """Times a step that mixes by the number of steps per call.

    Every batch is mixed: if only half of them were, the median of calls with a single step would be one or the other.
    """
    machine.prepare()
    stage = stage_of(dataclasses.replace(preset_of(context), mixing_probability=1.0))
    rows, data = [], {}
    for count in (1, 2) if context.tiny else STEPS_PER_CALL:
        compiled = OneDevice().compiled(_several_steps(stage, count))
        calls = 2 if context.tiny else max(CALLS, 50 // count)
        _, median, _ = seeds.timed(stage, compiled, seeds.in_turn, 1, calls)
        data[str(count)] = 1e3 * median / count
        rows.append(row(f"{count} in a call", f"{data[str(count)]:.3g} ms a step"))
        context.report({"rows": rows, "data": data})
    return {"rows": rows, "data": data}
