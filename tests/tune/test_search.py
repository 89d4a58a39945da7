"""The trials of a search, as the processes that share it see them."""

import json
import math
import os

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.tune.claims import SECONDS_UNTIL_LOST
from chimeramix_jax.tune.outcome import DIVERGED, DONE, PRUNED, RUNNING
from chimeramix_jax.tune.search import Search
from chimeramix_jax.tune.space import space_of
from chimeramix_jax.tune.trial import End, Outcome

TEXT = {"classifier.learning_rate": "0.01:1:log", "classifier.epochs": "4:8", "augment.policy": "none|trivialaugment"}


OWN = {"classifier.learning_rate": 0.01234, "classifier.epochs": 8, "augment.policy": "none"}  # within these


@pytest.fixture
def search(tmp_path):
    """Joins a search of some trials, as another process would."""

    def join(total=10, pruner="halving", own=(), **options):
        config = settings.load("digits:baseline")
        config.update_from_flattened_dict(dict(own))
        searching = Search(
            tmp_path / "search", space_of(TEXT, config), config, total, options.get("sampler", "tpe"), pruner
        )
        (tmp_path / "search").mkdir(exist_ok=True)
        searching.begin("digits:baseline", {})
        return searching

    return join


def test_a_search_in_the_folder_of_its_photos_is_refused(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    config = settings.load("image_folder:baseline")
    config.dataset.directory = str(tmp_path)
    searching = Search(tmp_path / "search", space_of(TEXT, config), config, 1, "tpe", "halving")
    with pytest.raises(InputError, match=f"^--workdir=.*search: lies in the folder of photos {tmp_path},"):
        searching.check("image_folder:baseline", {})


def test_what_a_killed_start_leaves_is_no_other_search(search, tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / ".search.json.0123456789abcdef.part").touch()
    assert search().unfinished()


def states(searching):
    return [record.state for record in searching.records()]


def test_processes_get_different_trials_until_all_are_begun(search):
    one, other = search(total=3), search(total=3)
    begun = [one.next(), other.next(), one.next()]
    assert [started.number for started in begun] == [0, 1, 2]
    assert len({started.values["classifier.learning_rate"] for started in begun}) == 3
    assert one.next() is None and other.next() is None and other.unfinished()
    for searching, started in zip((one, other, one), begun, strict=True):
        searching.finish(started, Outcome(End.DONE, 0.5, 100, 1.0))
    assert states(one) == [DONE] * 3 and not one.unfinished()


def test_a_trial_that_was_stopped_is_continued_by_anyone_with_the_same_settings(search):
    one, other = search(total=1), search(total=1)
    started = one.next()
    one.finish(started, Outcome(End.STOPPED))
    assert states(other) == [RUNNING]
    again = other.next()
    assert (again.number, again.values) == (started.number, started.values)
    other.finish(again, Outcome(End.DONE, 0.5, 100, 1.0))
    assert one.next() is None


def test_the_first_trial_has_the_settings_of_the_config_file_unrounded(search):
    searching = search(total=2, own=OWN)
    first, second = searching.next(), searching.next()
    assert first.values == OWN
    assert [record.values for record in searching.records()] == [first.values, second.values]
    assert second.values["classifier.learning_rate"] == float(f"{second.values['classifier.learning_rate']:.3g}")


def test_a_trial_of_a_lost_machine_is_repeated_under_a_new_number(search, tmp_path):
    one, other = search(total=1, own=OWN), search(total=1, own=OWN)
    lost = one.next()
    one.claims.drop("trial-0")
    claim = tmp_path / "search" / "claims" / "trial-0" / "lock.json"
    claim.write_text(json.dumps({"host": "elsewhere", "process": 1}))
    assert other.next() is None
    then = claim.stat().st_mtime - SECONDS_UNTIL_LOST - 60
    os.utime(claim, (then, then))
    repeated = other.next()
    for outcome in (Outcome(End.DONE, 0.5, 100, 1.0), Outcome(End.PRUNED), Outcome(End.FAILED, problem="no")):
        assert one.report(lost, 25, 0.5)  # the machine is back: its trial is to end, and nothing is recorded
        assert not one.finish(lost, outcome)
    assert states(other) == [RUNNING]
    assert (repeated.number, repeated.values) == (1, lost.values) and lost.values == OWN
    other.finish(repeated, Outcome(End.DONE, 0.5, 100, 1.0))
    assert [record.number for record in other.records()] == [1] and not other.unfinished()


def test_trials_in_the_worse_half_are_stopped_and_a_report_counts_once(search):
    searching = search(total=4)
    for accuracy in (0.3, 0.4, 0.5):
        started = searching.next()
        assert not searching.report(started, 25, accuracy)
        assert not searching.report(started, 25, 0.0)  # as after an interruption
        searching.finish(started, Outcome(End.DONE, accuracy, 100, 1.0))
    started = searching.next()
    assert searching.report(started, 25, 0.35)
    searching.finish(started, Outcome(End.PRUNED))
    assert states(searching) == [DONE, DONE, DONE, PRUNED]
    assert searching.records()[3].accuracy == 0.35


def test_a_trial_that_was_killed_before_it_could_stop_early_stops_when_it_is_continued(search):
    searching, other = search(total=4), search(total=4)
    for accuracy in (0.4, 0.5):
        started = searching.next()
        assert not searching.report(started, 25, accuracy)
        searching.finish(started, Outcome(End.DONE, accuracy, 100, 1.0))
    assert searching.report(searching.next(), 25, 0.3)
    searching.claims.drop("trial-2")
    again = other.next()
    assert again.number == 2 and other.report(again, 25, 0.3)


@pytest.mark.parametrize("pruner", ["none", "hyperband"])
def test_other_pruners_work_too(search, pruner):
    searching = search(total=2, pruner=pruner)
    started = searching.next()
    assert not searching.report(started, 25, 0.0)
    searching.finish(started, Outcome(End.DIVERGED))
    assert states(searching) == [DIVERGED] and math.isclose(searching.records()[0].accuracy, 0.0)


def test_importance_is_a_share_of_all_differences(search):
    searching = search(total=12, sampler="random")
    assert searching.importance() is None
    while (started := searching.next()) is not None:
        accuracy = 0.5 + 0.1 * math.log10(started.values["classifier.learning_rate"])
        searching.finish(started, Outcome(End.DONE, accuracy, 100, 1.0))
    importance = searching.importance()
    assert sum(importance.values()) == pytest.approx(1) and max(importance, key=importance.get).endswith("rate")


def test_importance_is_unknown_if_all_trials_have_the_same_settings(search):
    searching = search(total=4, own=OWN)
    for accuracy in (0.5, 0.51, 0.5, 0.5):  # as on a GPU
        searching._study.enqueue_trial(OWN)
        searching.finish(searching.next(), Outcome(End.DONE, accuracy, 100, 1.0))
    assert searching.importance() is None
