import pytest

from chimeramix_jax.command_line import reproduce, sweep, tune
from chimeramix_jax.errors import InputError


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (sweep, ["--datasets=digits", "--experiments=baseline"]),
        (tune, ["--config=digits", "--trials=2"]),
        (reproduce, ["field"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_nothing_is_launched_from_a_folder_that_was_deleted(command, arguments, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="the current folder was deleted; change to another folder"):
        command.parse_arguments([*arguments, f"--workdir={tmp_path / 'work'}"])
    assert not (tmp_path / "work").exists()
