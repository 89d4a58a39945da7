import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.sweep.selection import arguments, select


def test_every_combination_is_a_run_of_its_own_and_whole_seeds_come_first(runs):
    selected = runs("baseline,chimeramix_grid", images="5,10", seeds="0:2")
    assert [run.name for run in selected] == [
        f"digits-{experiment}-{images}-per-class-seed-{seed}"
        for seed in (0, 1)
        for experiment in ("baseline", "chimeramix_grid")
        for images in (5, 10)
    ]


def test_a_runs_settings_are_those_that_its_arguments_give_the_program(runs):
    (run,) = runs("mixup", images="7", seeds="3", overrides=["--config.classifier.epochs=2"])
    config = run.config
    assert (config.experiment, config.augment.mixup, config.max_labels_per_class) == ("mixup", True, 7)
    assert (config.seed, config.classifier.epochs) == (3, 2)
    assert arguments([run]) == [
        "--config=configs/digits.py:mixup",
        "--config.classifier.epochs=2",
        "--config.max_labels_per_class=7",
        "--config.seed=3",
        f"--workdir={run.workdir}",
    ]


def test_globs_name_experiments_and_data_sets_and_nothing_is_taken_twice(runs):
    names = [run.config.experiment for run in runs("*_grid_direct,chimeramix_*_direct")]
    assert names == ["chimeramix_grid_direct", "chimeramix_segmentation_direct"]
    assert {run.config.dataset.name for run in runs(datasets="cifair*,digits")} == {"cifair10", "cifair100", "digits"}


def test_a_glob_over_everything_names_the_14_experiments_of_the_study(runs):
    assert len({run.config.experiment for run in runs("*")}) == 14


def test_without_numbers_of_images_the_config_file_decides_and_all_stands_for_every_image(runs):
    assert [run.config.max_labels_per_class for run in runs(images=None)] == [5]
    assert [run.config.max_labels_per_class for run in runs(images="all,20")] == [None, 20]


def test_a_config_file_of_the_user_is_named_by_its_path(runs, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "from chimeramix_jax.config import load\n"
        "def get_config(experiment='baseline'):\n"
        "    config = load(f'digits:{experiment}')\n"
        "    config.classifier.epochs = 3\n"
        "    return config\n"
    )
    (run,) = runs("baseline", datasets=str(own))
    assert (run.source, run.config.classifier.epochs) == (f"{own}:baseline", 3)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"experiments": "chimeramix_gird"}, "--experiments: 'chimeramix_gird' is not known.*mean 'chimeramix_grid'"),
        ({"experiments": "nothing_*"}, r"--experiments: 'nothing_\*' is not known"),
        ({"experiments": ","}, "--experiments: names nothing, so there are no runs"),
        ({"datasets": "digit"}, r"--datasets: 'digit' is not known \(did you mean 'digits'"),
        ({"datasets": "nowhere.py"}, "nowhere.py: no such file"),
        ({"datasets": "common"}, "--datasets: 'common' is not known"),
        ({"images": "5,many"}, "--max_labels_per_class: 'many' in '5,many' is not allowed"),
        ({"images": "0"}, "--max_labels_per_class: '0'"),
        ({"images": "1"}, "configs/digits.py:chimeramix_grid: mixing.images: 2 images"),
        ({"seeds": "3:3"}, "--seeds: '3:3'"),
        ({"seeds": ""}, "--seeds: names nothing"),
        ({"overrides": ["--config.generator.epoch=1"]}, "'generator.epoch'.*generator.epochs"),
        ({"overrides": ["--config.generator.epochs=x"]}, "generator.epochs: 'x' is not allowed"),
        ({"overrides": ["--config.generator.epochs=0"]}, "chimeramix_grid: generator.epochs: 0 is not allowed"),
        ({"overrides": ["--config.seed=1"]}, "--config.seed=1: every run has its own; give them all by --seeds"),
        ({"overrides": ["--config.max_labels_per_class=1"]}, "by --max_labels_per_class"),
    ],
)
def test_what_is_not_known_or_not_allowed_is_refused_by_name(runs, asked, named):
    with pytest.raises(InputError, match=named):
        runs(**asked)


def test_two_config_files_whose_runs_would_share_a_directory_are_refused(tmp_path):
    files = [tmp_path / name for name in ("mine.py", "yours.py")]
    for file in files:
        file.write_text(
            "from chimeramix_jax.config import load\n\n\n"
            "def get_config(experiment):\n    return load(f'digits:{experiment}')\n"
        )
    with pytest.raises(InputError, match=r"mine.py:baseline and .*yours.py:baseline would share"):
        select(tmp_path / "sweep", ",".join(map(str, files)), "baseline", "5", "0", [])


def test_runs_do_not_share_their_settings(runs):
    first, second = runs(images="5,10")
    assert settings.differences(first.config, second.config) == ["max_labels_per_class: 5 stored, 10 requested"]
