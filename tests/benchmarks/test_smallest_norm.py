"""The choice of learning rate and weight decay by the norm of the parameters."""

import io
import math
import shutil
import zipfile

import numpy as np
import pytest
from conftest import TINY

import chimeramix_jax
from benchmarks import smallest_norm
from benchmarks.smallest_norm import Grid, Trained, chosen, parameter_norm, write_best
from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import metrics
from chimeramix_jax.runs.workdir import Workdir
from tests.runs import stored_settings


def test_the_smallest_norm_is_chosen_among_the_trainings_that_fit_the_images():
    overfitted = Trained(0.01, 1e-4, loss=0.001, accuracy=1.0, norm=90)
    regularized = Trained(0.01, 1e-2, loss=0.05, accuracy=0.99, norm=20)
    underfitted = Trained(0.1, 3e-2, loss=1.2, accuracy=0.6, norm=5)
    assert chosen([overfitted, regularized, underfitted]) is regularized
    assert chosen([overfitted, regularized, underfitted], fits=0.5) is underfitted


def test_where_none_fits_the_lowest_training_loss_is_chosen_and_never_one_that_diverged():
    low, high = Trained(0.01, 1e-3, 0.7, 0.8, norm=50), Trained(0.01, 1e-2, 0.9, 0.7, norm=20)
    diverged = Trained(9.0, 1e-2, math.nan, 1.0, norm=1)
    assert chosen([diverged, high, low]) is low
    with pytest.raises(InputError, match="every training diverged"):
        chosen([diverged])


def test_the_norm_is_that_of_all_parameters_of_the_stored_classifier(trained_run, tmp_path):
    chimeramix_jax.export(trained_run, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("weights/parameters.")]
        numbers = np.concatenate([np.load(io.BytesIO(archive.read(name))).ravel() for name in names])
    assert parameter_norm(Workdir(trained_run)) == pytest.approx(np.linalg.norm(numbers), rel=1e-5)


def test_a_finished_training_is_read_from_its_run_and_the_best_becomes_a_config_file(trained_run, tmp_path, capsys):
    own = ("classifier.epochs", "evaluation.every_epochs")  # which the grid sets
    overrides = tuple(f"--config.{key}={value}" for key, value in TINY.items() if key not in own)
    grid = Grid("digits:baseline", overrides, 5, tmp_path, (0.01,), (0.001, 0.002))
    run = shutil.copytree(trained_run, grid.folder_of(0.01, 0.002))
    stored_settings.change(run, lambda stored: stored.update(settings.config_to_dict(grid.config_of(0.01, 0.002))))
    last = metrics.read(trained_run / "classifier" / "metrics.jsonl")[-1]
    arguments = ["--config=digits:baseline", *overrides, "--epochs=5", f"--workdir={tmp_path}"]
    smallest_norm.main([*arguments, "--learning_rates=0.01", "--weight_decays=0.001,0.002", "--report"])
    _, *rows = [line for line in capsys.readouterr().out.splitlines() if line.strip("- ")]
    assert len(rows) == 1 and f"{last['loss']:.4f}" in rows[0] and rows[0].split()[-1] == "chosen"
    best = grid.finished(0.01, 0.002)
    config = settings.load(str(write_best(grid, best, 40)))
    assert (config.classifier.learning_rate, config.classifier.weight_decay) == (0.01, 0.002)
    assert (config.classifier.epochs, config.classifier.model) == (40, TINY["classifier.model"])
    with pytest.raises(SystemExit):  # trainings of other lengths are not compared with these
        smallest_norm.main([*arguments, "--epochs=6", "--learning_rates=0.01", "--weight_decays=0.002", "--report"])
    error = capsys.readouterr().err
    assert f"{run}: holds a run with other settings (classifier.epochs: 5 stored, 6 requested)" in error


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--weight_decays=-1", "classifier.weight_decay: -1.0 is not allowed"),
        ("--report", "holds no finished training"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_any_training(argument, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        smallest_norm.main(["--config=digits:baseline", "--epochs=5", f"--workdir={tmp_path / 'new'}", argument])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and error.count("\n") == 1 and not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", ["classifier.learning_rate", "classifier.epochs", "on_nonfinite"])
def test_settings_that_the_grid_sets_itself_cannot_be_changed(key, tmp_path):
    grid = Grid("digits:baseline", (f"--config.{key}=1",), 5, tmp_path)
    with pytest.raises(InputError, match=f"--config: {key} cannot be changed"):
        grid.config_of(0.01, 0.001)
