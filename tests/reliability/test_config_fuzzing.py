"""Whatever settings are given: either a step of every stage can be trained with them, or one line refuses them."""

import contextlib
import io
import re
from collections import Counter

import jax
import pytest
from conftest import ROOT, TINY
from flax import nnx
from hypothesis import HealthCheck, Phase, given, seed, strategies
from hypothesis import settings as hypothesis_settings

import chimeramix_jax
from chimeramix_jax import config as settings
from chimeramix_jax.command_line import program
from chimeramix_jax.config import experiments
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.run import Run, load_dataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.generator import GeneratorStage
from chimeramix_jax.training.networks import build_discriminator, build_generator

SHORT = TINY | {
    "max_labels_per_class": 2,
    "generator.epochs": 1,
    "generator.batch_size": 10,
    "generator.num_dataset_repeats_base": 2,
    "classifier.epochs": 1,
    "classifier.batch_size": 10,
    "classifier.num_dataset_repeats_base": 2,
}

# Values that people and scripts come up with, whatever the setting.
WORDS = """
    None True False -1 0 1 2 3 4 7 8 10 16 32 33 64 100 1e3 1000000 1000001 2147483647 2147483648 1e30 -0.0 0.1 0.5 1.0
    1.5 -0.1 nan inf -inf 1e-320 1e400 0x10 1_0 ½ (0.5,) (0.5,0.2) (0.2,0.5) [0.5] {} none grid cifar10 wrn-10-1
    wrn-11-1 wrn-10-0 wrn-99999999994-1 wrn-10-99999 resnet-50 float16 ../.. /dev/null a=b --config <b> ünï %s ${HOME}
"""
ANYTHING = [*WORDS.split(), "", " ", "two words", "line\nbreak", "'", '"', str(10**30)]


@strategies.composite
def command_lines(draw):
    """An experiment and up to three settings, each from what its rule allows or from anything."""
    experiment = draw(strategies.sampled_from(sorted(experiments.EXPERIMENTS)))
    keys = draw(strategies.lists(strategies.sampled_from(sorted(settings.SETTINGS)), max_size=3, unique=True))
    chosen = {
        key: draw(strategies.sampled_from(allowed_values(key)) | strategies.sampled_from(ANYTHING)) for key in keys
    }
    return experiment, chosen


def allowed_values(key):
    """Some values that a setting's rule names: its list, or its bounds."""
    allowed = settings.SETTINGS[key].allowed
    if allowed.startswith("one of "):
        return allowed.removeprefix("one of ").split(", ")
    if allowed == "true or false":
        return ["true", "false"]
    return re.findall(r"\b\d+(?:\.\d+)?(?:e\d+)?\b", allowed.split("as ")[0])[:1] or ANYTHING


class Tracer:
    """Stands in for training: traces a step of every stage, as JAX does before it compiles it.

    After ``at_most`` configurations (tracing takes seconds) it goes only as far as the training data.
    """

    def __init__(self, at_most):
        self.at_most, self.traced, self._data = at_most, 0, {}

    def __call__(self, config, workdir, **_):
        settings.check(config)
        directory = Workdir(workdir)
        directory.check(config)
        run = Run(Request(config, directory), self._dataset(config), directory)
        builders = [self._generator_stage] if settings.needs_generator(config) else []
        builders.append(self._classifier_stage)
        traces, self.traced = self.traced < self.at_most, self.traced + 1
        for build in builders:
            stage = build(run, traces)
            if traces:
                trace_a_step(stage)
        return {}

    def seeds(self, config, workdir, **_):
        """Stands in for training several seeds: the first of them."""
        seed = settings.parse_seeds(config.seeds)[0]
        self(settings.config_of_seed(config, seed), f"{workdir}/seed-{seed}")
        return [{"seed": seed, "summary": [], "files": []}]

    def _generator_stage(self, run, traces):
        data = run.stage_data("generator")
        return GeneratorStage(run.config, data) if traces else None

    def _classifier_stage(self, run, traces):
        config, held_out, data = run.config, run.dataset.held_out, run.stage_data("classifier")
        if not traces:
            return None
        networks = (build_generator, build_discriminator) if settings.needs_generator(config) else ()
        abstract = [nnx.eval_shape(lambda build=build: build(config, nnx.Rngs(0))) for build in networks]
        test_set = TestSet(held_out.images[:1], held_out.labels[:1], config.evaluation.batch_size)
        return ClassifierStage(config, data, 10, test_set, config.mixing.mask != "none", *abstract)

    def _dataset(self, config):
        """The run's data set, which is loaded once for all runs that have the same."""
        loaded = (config.dataset.to_json(), config.max_labels_per_class, config.seed)
        if loaded not in self._data:
            self._data[loaded] = load_dataset(config)
        settings.check_mixed_images(settings.flatten(config), config.max_labels_per_class, "max_labels_per_class")
        return self._data[loaded]


def trace_a_step(stage):
    """Traces a step from the initial state, and makes sure that the next one can follow."""

    def step(key, inputs):
        state = stage.initial_state(key)
        indices, counts = stage.plan.order(key)
        return state, stage.train_step(state, inputs, indices[0], None if counts is None else counts[0], key, key)[0]

    before, after = jax.eval_shape(step, jax.random.key(0), stage.inputs)
    assert before == after


def run_main(arguments):
    """Runs the program in this process; returns its exit code and what it wrote to standard error."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        return program.main(arguments), errors.getvalue()


@pytest.mark.parametrize(
    ("cases", "traced"),
    [(150, 2), pytest.param(500, 40, marks=pytest.mark.slow), pytest.param(500, 500, marks=pytest.mark.exhaustive)],
)
def test_every_configuration_is_trained_or_refused_in_one_line_that_names_a_setting(
    cases, traced, tmp_path, data_dir, monkeypatch
):
    tracer = Tracer(at_most=traced)
    monkeypatch.setattr(chimeramix_jax, "train_and_evaluate", tracer)
    monkeypatch.setattr(chimeramix_jax, "train_and_evaluate_seeds", tracer.seeds)
    monkeypatch.chdir(tmp_path)  # where folders of any name may be made
    outcomes = Counter()

    @seed(20261123)
    @hypothesis_settings(
        max_examples=cases,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines())
    def check(case):
        experiment, chosen = case
        workdir = tmp_path / str(outcomes.total())
        values = {"dataset.data_dir": data_dir} | SHORT | chosen
        arguments = [f"--config.{key}={value}" for key, value in values.items()]
        code, errors = run_main([f"--config={ROOT}/configs/digits.py:{experiment}", f"--workdir={workdir}", *arguments])
        outcomes[code] += 1
        assert code in (0, 2), (case, errors)
        assert "Traceback" not in errors, (case, errors)
        if code == 2:
            assert errors.count("\n") == 1, (case, errors)
            assert any(key in errors for key in settings.SETTINGS), (case, errors)
            assert not (workdir / "config.json").exists()

    check()
    assert outcomes.total() >= cases
    assert min(outcomes[0], outcomes[2]) >= cases / 5
    assert tracer.traced == outcomes[0]
