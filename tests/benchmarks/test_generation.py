"""The time of writing mixed images, for a moment."""

import pytest
from conftest import TINY

from benchmarks import generation
from chimeramix_jax import config as settings


@pytest.fixture
def tiny(monkeypatch):
    """Makes the networks of every configuration tiny."""
    load = settings.load

    def small(source):
        config = load(source)
        config.update_from_flattened_dict(TINY)
        return config

    monkeypatch.setattr(settings, "load", small)


def test_every_format_has_a_line_with_its_rate(tiny, capsys):
    generation.main([generation.MIXES, "--count=1"])
    heading, _, *lines = capsys.readouterr().out.splitlines()
    assert heading.endswith("images of 8x8")
    assert [line.split()[0] for line in lines] == list(generation.WRITERS)
    assert all(line.split()[-2] == "1" and float(line.split()[-1]) > 0 for line in lines)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("configs/image_folder.py", "configs/image_folder.py: mixes no images; name an experiment that does, as in"),
        ("configs/nosuch.py", "no such file"),
    ],
)
def test_a_configuration_that_mixes_nothing_is_refused_in_one_line(source, message, capsys):
    with pytest.raises(SystemExit) as ended:
        generation.main([source])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and error.count("\n") == 1
