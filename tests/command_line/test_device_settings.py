import pytest

from chimeramix_jax.command_line import device_settings, main_command
from chimeramix_jax.config import load, to_json
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import backend


@pytest.fixture
def accelerator(monkeypatch):
    """Lets this process believe that it computes on a GPU."""
    monkeypatch.setattr(backend, "on_accelerator", lambda: True)


@pytest.fixture
def photos(tmp_path):
    """A folder; what is in it does not matter here."""
    (tmp_path / "photos").mkdir()
    return str(tmp_path / "photos")


@pytest.fixture
def chosen(photos):
    """Returns the settings that the command line chooses for this machine."""

    def choose(*arguments: str):
        parsed = main_command.parse_arguments([f"--config.dataset.directory={photos}", *arguments])
        return device_settings.chosen(parsed.config, parsed.source, parsed.overrides, parsed.workdir)

    return choose


def test_on_a_gpu_the_name_of_the_folders_settings_stands_for_those_of_a_gpu(chosen, accelerator, capsys):
    config = chosen("--config=image_folder:cutout", "--config.classifier.epochs=7", "--folds=3")
    assert (config.dataset.image_side, config.classifier.model) == (96, "wrn-16-4")
    assert (config.experiment, config.classifier.epochs, config.folds) == ("cutout", 7, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "chimeramix: using the settings in image_folder_gpu.py, which are for a GPU; --config=configs/image_folder.py:"
        "cutout names those for a CPU"
    )


@pytest.mark.parametrize("source", ["configs/image_folder.py:auto", "image_folder_gpu"])
def test_a_path_or_another_name_always_means_one_file(chosen, accelerator, capsys, source):
    config = chosen(f"--config={source}")
    assert config.dataset.image_side == load(source).dataset.image_side
    assert not capsys.readouterr().err


def test_on_a_cpu_the_name_stands_for_the_file_of_that_name(chosen, capsys):
    assert chosen("--config=image_folder").dataset.image_side == 32
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("began_with", "side"), [("image_folder", 32), ("image_folder_gpu", 96)])
def test_a_run_keeps_the_settings_that_it_began_with(chosen, photos, accelerator, tmp_path, began_with, side):
    stored = load(began_with)
    stored.dataset.directory = photos
    for folder in (tmp_path / "alone", tmp_path / "several" / "seed-3"):
        run = Workdir(folder)
        run.create()
        run.config.write_text(to_json(stored))
    assert chosen("--config=image_folder", f"--workdir={tmp_path}/alone").dataset.image_side == side
    seeds = chosen("--config=image_folder", f"--workdir={tmp_path}/several", "--config.seeds=3,4")
    assert seeds.dataset.image_side == side
