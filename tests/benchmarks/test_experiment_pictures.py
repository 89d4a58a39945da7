import pytest
from PIL import Image

from benchmarks import experiment_pictures
from chimeramix_jax import config as settings


@pytest.mark.parametrize(
    ("experiment", "trained"),
    [
        ("chimeramix_grid", "chimeramix_grid"),
        ("chimeramix_segmentation_trivialaugment", "chimeramix_segmentation"),
        ("hydramix_grid", "hydramix_grid"),
    ],
)
def test_experiments_that_share_a_generator_train_it_once(experiment, trained):
    config = settings.load(f"{experiment_pictures.CONFIG}:{experiment}")
    assert experiment_pictures.first_with_the_same_generator(config) == trained


def test_only_the_requested_experiments_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment_pictures, "picture", lambda config, runs: Image.new("RGB", (2, 2)))
    experiment_pictures.main(["--output", str(tmp_path), "--experiments", "cutout", "mixup"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cutout.png", "mixup.png"]
    with pytest.raises(SystemExit):
        experiment_pictures.main(["--output", str(tmp_path), "--experiments", "cut-out"])
