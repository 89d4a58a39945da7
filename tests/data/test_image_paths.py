import os
from pathlib import Path

import pytest

from chimeramix_jax.data.image_paths import find
from chimeramix_jax.errors import InputError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos/b.png", "photos/a.png", "photos/more/c.jpg", "photos/.hidden", "photos/Thumbs.db", "x,y.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(named):
    return [path.as_posix() for path in find(named)]


def test_a_folder_stands_for_all_its_files_at_any_depth_without_hidden_ones(photos):
    assert names("photos") == ["photos/a.png", "photos/b.png", "photos/more/c.jpg"]


def test_a_pattern_stands_for_the_files_that_match_it(photos):
    assert names("photos/*.png") == ["photos/a.png", "photos/b.png"]
    assert names("photos/**/*.jpg") == ["photos/more/c.jpg"]


def test_several_are_named_by_commas_or_by_a_list_and_each_file_counts_once(photos):
    wanted = ["photos/b.png", "photos/a.png", "photos/more/c.jpg"]
    assert names("photos/b.png, photos") == wanted
    assert names([Path("photos/b.png"), "photos"]) == wanted


def test_a_file_whose_name_has_a_comma_is_that_file(photos):
    assert names("x,y.png") == ["x,y.png"]


def test_a_missing_file_is_listed_for_whoever_reads_it_to_name(photos):
    assert names("photos/a.png,photos/d.png") == ["photos/a.png", "photos/d.png"]


@pytest.mark.parametrize("named", ["", ",", []])
def test_naming_nothing_is_refused(photos, named):
    with pytest.raises(InputError, match="--images: names no image"):
        find(named)


def test_a_pattern_that_matches_nothing_and_an_empty_folder_are_refused(photos):
    with pytest.raises(InputError, match=r"--images: no file matches '\*.gif'"):
        find("*.gif")
    os.mkdir("empty")
    with pytest.raises(InputError, match="--images: the folder empty holds no files"):
        find("empty")
