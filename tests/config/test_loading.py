"""Config files, shipped and own."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError


@pytest.mark.parametrize(
    ("content", "source", "complaint"),
    [
        (None, "absent.py", "no such file"),
        ("def get_config(:", "broken.py", "not valid Python"),
        ("x = 1", "empty.py", "defines no function get_config"),
        ("def get_config(): return {}", "dictionary.py", "returned a dict"),
        ("def get_config(): return 1", "plain.py:baseline", "takes no experiment"),
        ("def get_config(experiment): return 1", "strict.py", "needs an experiment"),
    ],
)
def test_an_invalid_config_file_is_refused_with_its_path(tmp_path, content, source, complaint):
    if content is not None:
        (tmp_path / source.split(":")[0]).write_text(content)
    with pytest.raises(InputError, match=complaint) as caught:
        settings.load(f"{tmp_path}/{source}")
    assert str(tmp_path) in str(caught.value)


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
