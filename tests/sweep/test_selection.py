import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.errors import InputError
from chimeramix_jax.sweep.selection import arguments, select


def test_every_combination_is_a_run_and_runs_are_ordered_by_seed(runs):
    selected = runs("baseline,chimeramix_grid", images="5,10", seeds="0:2")
    assert [run.name for run in selected] == [
        f"digits-{experiment}-{images}-per-class-seed-{seed}"
        for seed in (0, 1)
        for experiment in ("baseline", "chimeramix_grid")
        for images in (5, 10)
    ]


def test_the_settings_of_a_run_match_its_arguments(runs):
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


def test_glob_patterns_select_experiments_and_data_sets_without_duplicates(runs):
    names = [run.config.experiment for run in runs("*_grid_direct,chimeramix_*_direct")]
    assert names == ["chimeramix_grid_direct", "chimeramix_segmentation_direct"]
    assert {run.config.dataset.name for run in runs(datasets="cifair*,digits")} == {"cifair10", "cifair100", "digits"}


def test_the_study_is_the_fourteen_experiments_of_the_paper_and_the_pattern_for_everything_selects_all(runs):
    study, everything = ({run.config.experiment for run in runs(names)} for names in ("study", "*"))
    assert len(study) == 14
    assert everything == set(EXPERIMENTS) > study


def test_numbers_of_images_default_to_the_config_file_and_all_means_no_limit(runs):
    assert [run.config.max_labels_per_class for run in runs(images=None)] == [5]
    assert [run.config.max_labels_per_class for run in runs(images="all,20")] == [None, 20]


def test_a_config_file_of_the_user_is_selected_by_path(runs, tmp_path):
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
    ("arguments_of_runs", "message"),
    [
        ({"experiments": "chimeramix_gird"}, "--experiments: 'chimeramix_gird' is not known.*mean 'chimeramix_grid'"),
        ({"experiments": "nothing_*"}, r"--experiments: 'nothing_\*' is not known"),
        ({"experiments": ","}, "--experiments: is empty; it must contain at least one value"),
        ({"datasets": "digit"}, r"--datasets: 'digit' is not known \(did you mean 'digits'"),
        ({"datasets": "nowhere.py"}, "nowhere.py: no such file"),
        ({"datasets": "common"}, "--datasets: 'common' is not known"),
        ({"images": "5,many"}, "--max_labels_per_class: 'many' in '5,many' is not allowed"),
        ({"images": "0"}, "--max_labels_per_class: '0'"),
        ({"images": "1"}, "configs/digits.py:chimeramix_grid: mixing.images: 2 images"),
        ({"seeds": "3:3"}, "--seeds: '3:3'"),
        ({"seeds": ""}, "--seeds: is empty"),
        ({"overrides": ["--config.generator.epoch=1"]}, "'generator.epoch'.*generator.epochs"),
        ({"overrides": ["--config.generator.epochs=x"]}, "generator.epochs: 'x' is not allowed"),
        ({"overrides": ["--config.generator.epochs=0"]}, "chimeramix_grid: generator.epochs: 0 is not allowed"),
        (
            {"overrides": ["--config.seed=1"]},
            "--config.seed=1: the sweep sets this for each run; list the values with --seeds",
        ),
        ({"overrides": ["--config.max_labels_per_class=1"]}, "with --max_labels_per_class"),
    ],
)
def test_unknown_and_invalid_values_are_rejected_by_name(runs, arguments_of_runs, message):
    with pytest.raises(InputError, match=message):
        runs(**arguments_of_runs)


def test_config_files_whose_runs_would_share_a_directory_are_rejected(tmp_path):
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


def test_seeds_in_a_config_file_are_refused_as_every_seed_is_a_run(runs, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "from chimeramix_jax.config import load\n"
        "def get_config(experiment='baseline'):\n"
        "    config = load(f'digits:{experiment}')\n"
        "    config.seeds = '0:3'\n"
        "    return config\n"
    )
    with pytest.raises(InputError, match=r"own\.py:baseline: seeds: '0:3'.*--seeds"):
        runs("baseline", datasets=str(own))
