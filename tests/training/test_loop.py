"""The training loop on a tiny stage: resuming within an epoch, non-finite numbers, traces."""

import json

import jax
import numpy as np
import pytest
from training.toy_stage import ToyStage, train, weights

from chimeramix_jax.errors import NonFiniteError
from chimeramix_jax.reporting import metrics
from chimeramix_jax.runtime import backend
from chimeramix_jax.training import checkpoints, loop
from chimeramix_jax.training.checkpoints import StageCheckpoints
from chimeramix_jax.training.epochs import EpochRunner
from chimeramix_jax.training.execution import OneDevice


def steps_kept(directory):
    return sorted(int(path.name) for path in (directory / "checkpoints").glob("[0-9]*") if path.name.isdigit())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    return weights(train(directory)), (directory / "metrics.jsonl").read_bytes()


class InterruptedTrainingError(Exception):
    pass


@pytest.mark.parametrize("last_step", [4, 6, 13])
def test_training_interrupted_after_any_step_resumes_there_bit_for_bit(tmp_path, monkeypatch, uninterrupted, last_step):
    save = StageCheckpoints.save

    def save_and_interrupt(self, step, state, about):
        save(self, step, state, about)
        if step == last_step:
            raise InterruptedTrainingError

    monkeypatch.setattr(StageCheckpoints, "save", save_and_interrupt)
    with pytest.raises(InterruptedTrainingError):
        train(tmp_path, **{"config.checkpoint.every_seconds": 1e-9})
    monkeypatch.undo()
    assert steps_kept(tmp_path)[-1] == last_step
    resumed = train(tmp_path)
    assert (weights(resumed), (tmp_path / "metrics.jsonl").read_bytes()) == uninterrupted


@pytest.mark.parametrize("steps_per_call", [2, 6])
def test_an_epoch_divided_into_other_calls_gives_the_same_bits(tmp_path, steps_per_call):
    results = [
        weights(train(tmp_path / str(count), **{"config.steps_per_call": count})) for count in (5, steps_per_call)
    ]
    assert results[0] == results[1]


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    train(tmp_path, **{"config.checkpoint.every_seconds": 1e-9, "config.checkpoint.keep": 3})
    assert steps_kept(tmp_path) == [16, 17, 18]
    assert not list((tmp_path / "checkpoints").glob("*.part"))


def test_a_checkpoint_is_written_at_the_end_of_every_epoch_if_the_interval_is_zero(tmp_path):
    train(tmp_path, **{"config.checkpoint.keep": 9})
    assert steps_kept(tmp_path) == [6, 12, 18]


@pytest.mark.parametrize(("fault", "steps_per_call"), [("loss", 1), ("loss", 4), ("gradients", 1)])
def test_a_nonfinite_number_ends_training_at_its_step_and_checkpoints_stay_finite(tmp_path, fault, steps_per_call):
    changes = {"fault": fault, "fault_probability": 0.12, "config.checkpoint.every_seconds": 1e-9}
    with pytest.raises(NonFiniteError, match=r"toy: not finite in epoch \d, step \d+: .*is kept") as caught:
        train(tmp_path, **changes, **{"config.steps_per_call": steps_per_call, "config.checkpoint.keep": 99})
    error = caught.value
    assert fault in error.terms
    assert error.epoch == (error.step - 1) // 6 + 1
    kept = steps_kept(tmp_path)
    assert kept and kept[-1] < error.step <= kept[-1] + steps_per_call
    with StageCheckpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        shape = jax.ShapeDtypeStruct((ToyStage().size,), "float32")
        kept_state, _ = checkpoints.restore(kept[-1], {"generator": {"weights": shape}})
    assert np.all(np.isfinite(kept_state["generator"]["weights"]))


def test_the_error_at_the_first_step_says_that_there_is_no_checkpoint(tmp_path):
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 1: loss.*no checkpoint yet.*on_nonfinite=rollback"):
        train(tmp_path, fault="loss", fault_probability=1.0)


def test_a_rollback_retries_with_other_random_numbers_and_is_recorded(tmp_path):
    changes = {"fault": "loss", "fault_probability": 0.12, "config.on_nonfinite": "rollback"}
    trained = train(tmp_path, **changes)
    assert 1 <= len(trained.rollbacks) <= loop.MOST_ROLLBACKS
    for record in trained.rollbacks:
        assert record["terms"] == ["loss"] and record["back_to_step"] % 6 == 0
        assert record["back_to_step"] < record["step"] <= record["back_to_step"] + 6
    assert checkpoints.newest(tmp_path)["rollbacks"] == trained.rollbacks
    assert [line["step"] for line in metrics.read(tmp_path / "metrics.jsonl")] == [6, 12, 18]
    assert train(tmp_path, **changes).rollbacks == trained.rollbacks  # read from the last checkpoint


def test_training_gives_up_after_three_rollbacks(tmp_path):
    changes = {"fault": "gradients", "fault_probability": 1.0, "config.on_nonfinite": "rollback"}
    with pytest.raises(NonFiniteError, match="3 rollbacks did not help"):
        train(tmp_path, **changes)


def test_allowing_rollbacks_does_not_change_a_run_without_faults(tmp_path, uninterrupted):
    assert weights(train(tmp_path, **{"config.on_nonfinite": "rollback"})) == uninterrupted[0]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["epoch"] == 3


def run_epochs(stage, epochs, seconds=()):
    """Runs epochs, pretending that their calls take the given seconds; returns the calls."""
    runner, execution = EpochRunner(stage), OneDevice()
    state, calls, seconds = execution.place(jax.jit(stage.initial_state)(jax.random.key(0))), [], iter(seconds)
    for epoch in range(epochs):
        progress = runner.begin(state, epoch, jax.random.key(epoch))
        while not runner.is_over(progress):
            calls.append(runner.call(progress))
            completed = calls[-1].run()
            progress = runner.after(calls[-1], completed._replace(seconds=next(seconds, 0.0)))
        state = progress.carry.state
    return calls


def test_a_step_is_compiled_only_once_in_a_new_run():
    calls = run_epochs(ToyStage(), epochs=2)
    assert calls[0].compiled is calls[-1].compiled
    assert calls[0].compiled._cache_size() == 1


def test_on_an_accelerator_calls_grow_and_shrink_to_take_one_to_two_seconds(monkeypatch):
    monkeypatch.setattr(backend, "runs_several_steps_per_call", lambda: True)
    calls = run_epochs(ToyStage(steps=20), epochs=2, seconds=[30.0, 0.3, 0.6, 1.5, 1.5, 2.5, 1.2, 0.0, 0.0])
    assert [call.span.end - call.span.first for call in calls] == [1, 1, 2, 4, 4, 4, 2, 2, 4, 8, 8]


def test_a_trace_of_the_steps_after_compilation_is_written_without_changing_a_bit(tmp_path, uninterrupted):
    assert weights(train(tmp_path, **{"config.profile_steps": 4})) == uninterrupted[0]
    traces = [path.name for path in (tmp_path / "profile").rglob("*") if path.is_file()]
    assert any(name.endswith(".xplane.pb") for name in traces)
    assert "perfetto_trace.json.gz" in traces
    train(tmp_path / "none")
    assert not (tmp_path / "none" / "profile").exists()


def test_a_trace_longer_than_the_stage_ends_with_the_stage(tmp_path):
    train(tmp_path, **{"config.profile_steps": 1000})
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    jax.profiler.start_trace(str(tmp_path / "another"))  # would fail if the first trace were still running
    jax.profiler.stop_trace()
