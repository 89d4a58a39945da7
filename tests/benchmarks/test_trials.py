"""What the trials of a choice take beside their steps: which runs are measured. ``auto/test_trials.py`` trains some."""

from benchmarks import trials
from chimeramix_jax import config as settings
from chimeramix_jax.auto.halving import Cost, Schedule


def test_a_recipe_is_run_first_with_another_length_and_without_another_fold(tmp_path, monkeypatch):
    runs = []

    def run(self, *run):
        runs.append(run)
        return None, Cost(compiling=9.0, setup=len(runs), generator_epoch=0.0, classifier_epoch=1.0)

    monkeypatch.setattr(trials.FoldTrials, "run", run)
    found = [*trials.measured(settings.load("image_folder:auto"), ["baseline", "chimeramix_grid"], tmp_path)]
    of_baseline = [(Schedule(0, 1), "timing", 1), (Schedule(0, 2), "rung-1", 1), (Schedule(0, 2), "rung-1", 2)]
    of_mixing = [(Schedule(1, 1), "timing", 1), (Schedule(2, 2), "rung-1", 1), (Schedule(2, 2), "rung-1", 2)]
    assert runs == [("baseline", *run) for run in of_baseline] + [("chimeramix_grid", *run) for run in of_mixing]
    assert [(recipe, cost.setup) for recipe, _, _, cost in found][2:4] == [("baseline", 3), ("chimeramix_grid", 4)]
