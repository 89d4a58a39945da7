"""Times training steps on this device, in a process of its own.

The process that plans a sweep never starts JAX, so that it occupies no device. Steps run as in training, on images of
coloured tiles, since their time hardly depends on what an image shows.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import shipped
from chimeramix_jax.config.catalog import dataset_entry
from chimeramix_jax.errors import InputError
from chimeramix_jax.reproduce.estimate import StepTimes, Work, training_images
from chimeramix_jax.sweep.plan import Job

if TYPE_CHECKING:
    from chimeramix_jax.training.calls import State
    from chimeramix_jax.training.classifier import ClassifierStage
    from chimeramix_jax.training.generator import GeneratorStage
    from chimeramix_jax.training.stage_data import StageData

# The process that times. It imports the same package as this one, whatever the current folder, also from a checkout.
_START = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__} import main; main()"
COMMAND = [sys.executable, "-c", _START, str(shipped.package().parent)]
TIMED_SECONDS = 5.0  # of each kind of step, after the calls that compile it
_CALLS_NOT_TIMED = 2  # the first compiles
_FEWEST_STEPS = 8  # as batches are mixed or not by chance
_TILES_PER_SIDE = 4  # so that masks of segments have something to follow


def timed(jobs: Mapping[Work, Job]) -> StepTimes:
    """Returns the step times of jobs on this device; raises InputError if JAX or a stage does not start.

    Prints a line on standard error for every kind of step.
    """
    wanted = [
        {
            "stage": "generator" if job.stage == "generator" else "classifier",
            "source": job.run.source,
            "overrides": job.run.overrides,
            "images": job.run.config.max_labels_per_class,
        }
        for job in jobs.values()
    ]
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        json.dump(wanted, process.stdin)
        process.stdin.close()
        answers = _answers(process.stdout, list(jobs.values()))
    if len(answers) != len(wanted) + 1:
        raise InputError("--estimate: the steps could not be timed; the lines above say why")
    seconds = {work: answer["seconds"] for work, answer in zip(jobs, answers[1:], strict=True)}
    return StepTimes(answers[0]["kind"], answers[0]["backend"], seconds, timed=True)


def _answers(output: Iterable[str], jobs: list[Job]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for line in output:
        answers.append(json.loads(line))
        if len(answers) > 1:
            job = jobs[len(answers) - 2]
            shown = f"{job.kind.dataset}, {job.kind.work}: {1e3 * answers[-1]['seconds']:.3g} ms per step"
            print(shown, file=sys.stderr, flush=True)
    return answers


def main() -> None:
    """Reads what to time from standard input, and writes a line of JSON for the device and for each kind of step."""
    wanted = json.load(sys.stdin)
    from chimeramix_jax.runtime import backend, compilation_cache, cpu_setup, jax_settings

    cpu_setup.prepare()  # before JAX computes
    jax_settings.use_own()
    compilation_cache.enable()
    try:
        backend.check()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    from chimeramix_jax.runs import provenance

    print(json.dumps(provenance.device()), flush=True)
    for entry in wanted:
        config = settings.load(entry["source"])
        settings.override(config, entry["overrides"])
        config.max_labels_per_class = entry["images"]
        print(json.dumps({"seconds": seconds_per_step(config, entry["stage"])}), flush=True)


def seconds_per_step(config: ConfigDict, stage_name: str, at_least: float = TIMED_SECONDS) -> float:
    """Returns the seconds of a training step of a stage, "generator" or "classifier", on this device.

    Calls are run for ``at_least`` seconds after the first ones, which compile. Their length adapts as in training.
    """
    import jax

    from chimeramix_jax.training.epochs import EpochRunner

    stage = _stage(config, stage_name)
    runner = EpochRunner(stage, config.steps_per_call)
    state = _initial_state(stage)
    steps, seconds, epoch = 0, 0.0, 0
    progress = runner.begin(state, epoch, jax.random.key(0))
    calls = 0
    while steps < _FEWEST_STEPS or seconds < at_least:
        if runner.is_over(progress):
            epoch += 1
            progress = runner.begin(progress.carry.state, epoch, jax.random.key(epoch))
        call = runner.call(progress)
        completed = call.run()
        progress = runner.after(call, completed)
        calls += 1
        if calls > _CALLS_NOT_TIMED:
            steps += int(call.span.end) - int(call.span.first)
            seconds += completed.seconds
    return seconds / steps


def _initial_state(stage: "GeneratorStage | ClassifierStage") -> "State":
    """Returns the state of a stage before its first step, committed to the device as that of a run is."""
    import jax

    from chimeramix_jax.training.execution import OneDevice

    return OneDevice().place(jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg")))


def _stage(config: ConfigDict, name: str) -> "GeneratorStage | ClassifierStage":
    """Returns a stage of a run with images of coloured tiles, and an untrained generator if it needs one."""
    import numpy as np
    from flax import nnx

    from chimeramix_jax.training.classifier import ClassifierStage
    from chimeramix_jax.training.evaluation import TestSet
    from chimeramix_jax.training.generator import GeneratorStage
    from chimeramix_jax.training.networks import build_generator

    classes = dataset_entry(config.dataset.name).classes
    assert classes is not None, "tables have data sets whose classes are known"
    if name == "generator":
        return GeneratorStage(config, _data(config, name, classes))
    side = config.classifier.image_side
    nothing_held_out = TestSet(np.zeros((1, side, side, 3), np.uint8), np.zeros(1, np.int32), 1)
    generator = build_generator(config, nnx.Rngs(0)) if settings.needs_generator(config) else None
    mixes = config.mixing.mask != "none"
    return ClassifierStage(config, _data(config, name, classes), classes, nothing_held_out, mixes, generator)


def _data(config: ConfigDict, stage: str, classes: int) -> "StageData":
    import numpy as np

    from chimeramix_jax.training.stage_data import load_stage_data

    labels = np.sort(np.arange(training_images(config)) % classes)
    shape = len(labels), _TILES_PER_SIDE, _TILES_PER_SIDE, 3
    colours = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    places = np.arange(config[stage].image_side) * _TILES_PER_SIDE // config[stage].image_side
    return load_stage_data(config, stage, colours[:, places[:, None], places], labels, classes)
