"""Config files, shipped and own."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import program
from chimeramix_jax.config import shipped
from chimeramix_jax.errors import InputError
from chimeramix_jax.sweep.selection import select

RETURNS = "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({})"
SPACE = "def get_search_space(): return {{{}}}"
CHANGES = """from chimeramix_jax.config import load
def get_config():
    config = load("digits")
    config.{}
    return config
"""


def test_a_config_file_may_be_named_by_a_path_object():
    path = ROOT / "configs" / "digits.py"
    assert settings.differences(settings.load(path), settings.load(str(path))) == []


@pytest.mark.parametrize(
    ("content", "source", "complaint"),
    [
        (None, "absent.py", "no such file"),
        ("def get_config(:", "broken.py", "not valid Python"),
        ("x = 1", "empty.py", "defines no function get_config"),
        ("def get_config(): return {}", "dictionary.py", "returned a dict"),
        ("def get_config(): return 1", "plain.py:baseline", "takes no experiment"),
        ("def get_config(experiment): return 1", "strict.py", "needs an experiment"),
        (
            "def get_config():\n    raise SystemExit(0)",
            "ending.py",
            r"ending\.py:2: ends the program \(exit 0\), which",
        ),
        ("x = 1\nexit()", "ending.py", r"ending\.py:2: ends the program \(exit None\), which"),
        (RETURNS.format("{'seed': 1}"), "few.py", "few.py: experiment: missing; it must be"),
        (RETURNS.format("{'classifier': 5}"), "group.py", "group.py: classifier: this is a group of settings; set one"),
        (RETURNS.format("{5: 1}"), "number.py", "number.py: '5': there is no such setting"),
        (CHANGES.format("seed = -1"), "seed.py", "seed.py: seed: -1 is not allowed; it must be a whole number from 0"),
        ("folder", "folder.py", r"--config=.*folder\.py: is a folder; it must be a Python file$"),
    ],
)
def test_an_invalid_config_file_is_refused_with_its_path(tmp_path, content, source, complaint):
    if content == "folder":
        (tmp_path / source).mkdir()
    elif content is not None:
        (tmp_path / source.split(":")[0]).write_text(content)
    with pytest.raises(InputError, match=complaint) as caught:
        settings.load(f"{tmp_path}/{source}")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("folder", ["10:30", "a:b/c", "x.py:y", "."])
@pytest.mark.parametrize("name", ["best.py", "10:30.py", "a.py.py"])
def test_a_path_may_contain_colons(tmp_path, folder, name):
    file = tmp_path / folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "from chimeramix_jax.config import load\ndef get_config(name='baseline'): return load(f'digits:{name}')\n"
        "def get_search_space(): return {'classifier.epochs': '1:2'}\n"
    )
    assert settings.load(str(file)).experiment == "baseline"
    assert settings.load(f"{file}:mixup").experiment == "mixup"
    assert settings.load_search_space(f"{file}:mixup") == {"classifier.epochs": "1:2"}
    assert shipped.as_path(f"{file}:mixup") == f"{file}:mixup"
    (run,) = select(tmp_path / "sweep", str(file), "mixup", "5", "0")
    assert (run.source, run.config_file) == (f"{file}:mixup", file.stem)


@pytest.mark.parametrize(
    ("source", "file", "experiment"),
    [
        ("digits", "digits", None),
        ("digits:mixup", "digits", "mixup"),
        ("digits:", "digits", ""),
        ("digits:a:b", "digits", "a:b"),
        ("configs/digits.py", "configs/digits.py", None),
        ("configs/digits.py:mixup", "configs/digits.py", "mixup"),
        ("runs/10:30/best.py", "runs/10:30/best.py", None),
        ("runs/10:30/best.py:auto", "runs/10:30/best.py", "auto"),
        ("runs/a.py:b/best.py:auto", "runs/a.py:b/best.py", "auto"),
        ("runs/10:30/best", "runs/10:30/best", None),
        ("", "", None),
    ],
)
def test_file_and_experiment_are_separated(source, file, experiment):
    assert shipped.separated(source) == (file, experiment)
    assert shipped.joined(file, experiment) == source


@pytest.mark.parametrize(
    ("definition", "complaint"),
    [
        ("def get_search_space():\n    return 1 / 0", "own.py:5: ZeroDivisionError: division by zero"),
        ("def get_search_space():\n    exit(3)", "own.py:5: ends the program (exit 3)"),
        ("def get_search_space(name): return {}", "own.py: TypeError: get_search_space() missing 1 required"),
        ("get_search_space = {'a': 1}", "get_search_space is a dict, not a function"),
        ("def get_search_space(): return [1]", "get_search_space returned a list; it must be a dictionary"),
        ("def get_search_space(): return {}", "get_search_space returned an empty dictionary"),
        (SPACE.format("'classifier.learning_rate': 5"), "get_search_space: classifier.learning_rate: 5 is not allowed"),
        (SPACE.format("'classifier.epochs': None"), "classifier.epochs: None is not allowed; it must be text such as"),
        (SPACE.format("'classifier.epochs': [1, None]"), "classifier.epochs: [1, None] is not allowed"),
        (SPACE.format("'classifier.epochs': {1, 2}"), "classifier.epochs: {1, 2} is not allowed"),
        (SPACE.format("5: '1:2'"), "get_search_space: the key 5 is not allowed; it must be the name of a setting"),
    ],
)
def test_a_search_space_that_cannot_be_used_is_refused_with_its_file(tmp_path, capsys, definition, complaint):
    file = tmp_path / "own.py"
    file.write_text(f"from chimeramix_jax.config import load\ndef get_config(): return load('digits')\n\n{definition}")
    assert program.main(["tune", f"--config={file}", f"--workdir={tmp_path / 'search'}"]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and str(file) in errors and complaint in errors


def test_values_to_search_may_be_numbers_of_any_kind(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "import numpy as np\ndef get_search_space():\n"
        "    return {'a': (1, 2.5, True), 'b': [np.int64(1), np.float64(0.1)], 'c': range(1, 3)}\n"
    )
    expected = {"a": ["1", "2.5", "True"], "b": ["1", "0.1"], "c": ["1", "2"]}
    assert settings.load_search_space(str(file)) == expected


@pytest.mark.parametrize(
    ("arguments", "mirror"),
    [
        (["--config.augment.horizontal_flip=false"], False),
        (["--noconfig.augment.horizontal_flip"], False),
        (["--config.augment.horizontal_flip=false", "--config.evaluation.mirror=true"], True),
        (["--config.augment.horizontal_flip=true"], True),
        (["--config.seed=1"], True),
    ],
)
@pytest.mark.parametrize("source", ["image_folder", "image_folder:chimeramix_grid", "image_folder_gpu"])
def test_without_mirror_images_in_training_there_are_none_in_prediction_unless_requested(source, arguments, mirror):
    config = settings.load(source)
    settings.override(config, arguments)
    assert config.evaluation.mirror == mirror


def test_a_config_file_applies_the_experiment_and_is_locked_afterwards():
    config = settings.load("configs/cifair10.py:baseline")
    assert config.experiment == "baseline"
    with pytest.raises(AttributeError):
        config.nosuch = 1


def test_config_files_load_even_if_another_package_is_called_configs(tmp_path):
    (tmp_path / "configs.py").write_text("OTHER = True\n")
    program = (
        "import configs; assert configs.OTHER; from chimeramix_jax import config; config.check(config.load('cifar100'))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
