import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import files


def test_a_file_is_written_with_the_folders_on_its_way(tmp_path):
    target = tmp_path / "a" / "b" / "results.json"
    files.write_json(target, {"top_1": 0.5})
    assert json.loads(target.read_text()) == {"top_1": 0.5}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "results.json"
    files.write_bytes(target, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        files.write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_value_that_json_cannot_hold_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "results.json", {"what": object()})
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_is_written_as_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_values_become_what_json_has_a_form_for():
    value = {"path": Path("runs"), "scalar": np.float32(0.5), "row": np.arange(3), "pair": (1, None), 7: float("nan")}
    plain = files.plain(value)
    assert plain == {"path": "runs", "scalar": 0.5, "row": [0, 1, 2], "pair": [1, None], "7": None}
    assert [type(number) for number in plain["row"]] == [int, int, int]


def test_infinities_inside_arrays_become_null():
    assert files.plain(np.array([1.0, np.inf, np.nan])) == [1.0, None, None]


def test_a_folder_has_its_name_only_when_it_is_whole(tmp_path):
    target = tmp_path / "sub" / "folder"
    with files.whole_folder(target) as unfinished:
        (unfinished / "a").write_text("a")
        assert not target.exists()
    assert (target / "a").read_text() == "a" and os.listdir(target.parent) == ["folder"]
    assert target.stat().st_mode & 0o777 == 0o777 & ~files._umask()


def test_a_folder_that_cannot_be_filled_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "folder") as unfinished:
        (unfinished / "a").write_text("a")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_folder_is_made_where_an_empty_one_is_but_not_over_anything_else(tmp_path):
    (tmp_path / "empty").mkdir()
    with files.whole_folder(tmp_path / "empty") as unfinished:
        (unfinished / "a").write_text("a")
    for taken in (tmp_path / "empty", tmp_path / "empty" / "a"):
        with pytest.raises(InputError, match="is there already"), files.whole_folder(taken):
            pass
    assert (tmp_path / "empty" / "a").read_text() == "a"
