import os
import unicodedata
from pathlib import Path

import pytest

from chimeramix_jax import paths
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir


def test_a_tilde_becomes_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert paths.local_path("~/a/", "--workdir") == Path("/somewhere/a")
    assert Workdir("~/a").path == Path("/somewhere/a")


@pytest.mark.parametrize("named", ["gs://bucket/run", "S3://bucket/run", "https://host/x", Path("gs://bucket/run")])
def test_urls_are_refused(named):
    with pytest.raises(InputError, match=r"^--workdir=.*is a URL"):
        paths.local_path(named, "--workdir")


@pytest.mark.parametrize("named", ["a:b/c", "C:/x", "x/gs://y"])
def test_a_colon_alone_does_not_make_a_url(named):
    assert paths.local_path(named, "--workdir") == Path(named)


def test_a_path_that_may_not_be_looked_up_is_refused(tmp_path, monkeypatch):
    lstat = Path.lstat

    def closed(path):  # root may look everywhere
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", closed)
    with pytest.raises(InputError, match=r"^--images=.*/closed/photo: cannot be used: Permission denied$"):
        paths.local_path(tmp_path / "closed" / "photo", "--images")
    with pytest.raises(InputError, match=r"cannot be used: File name too long"):
        paths.local_path(tmp_path / ("x" * 300), "--images")


def test_a_path_through_a_file_is_left_to_whoever_uses_it(tmp_path):
    (tmp_path / "file").touch()
    assert paths.local_path(tmp_path / "file" / "x", "--images") == tmp_path / "file" / "x"


def test_a_path_with_a_zero_byte_is_refused_in_words_that_can_be_printed():
    with pytest.raises(InputError, match=r"^--workdir='a\\x00b': contains a character that no path may have$"):
        paths.local_path("a\0b", "--workdir")


def test_below_a_deleted_current_folder_only_full_paths_are_allowed(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match=r"^--workdir=run: the current folder was deleted; .*write the full path$"):
        Workdir("run")
    assert Workdir(tmp_path / "run").path == tmp_path / "run"


@pytest.mark.parametrize("named", ["", "  "])
def test_an_empty_path_is_refused(named):
    with pytest.raises(InputError, match="is empty"):
        paths.local_path(named, "--workdir")


def test_a_name_is_found_in_any_unicode_form(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Bär") for form in ("NFC", "NFD"))
    (tmp_path / decomposed).touch()
    assert paths.in_any_form(tmp_path / composed).exists()
    (tmp_path / decomposed).unlink()
    assert paths.in_any_form(tmp_path / "nothing") == tmp_path / "nothing"
    (tmp_path / composed / decomposed / "Büro").mkdir(parents=True)
    for name in (tmp_path / decomposed / composed / "Büro", tmp_path / decomposed / composed / "new"):
        assert paths.local_path(name, "--workdir") == tmp_path / composed / decomposed / name.name
    assert sorted([decomposed, "Baz", "Bz"], key=paths.by_name) == sorted(
        [decomposed, "Baz", "Bz"], key=lambda name: unicodedata.normalize("NFC", name)
    )


def test_links_are_followed_once(tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "top" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "top" / "loop").symlink_to(tmp_path / "top")
    found = [os.path.join(path, name) for path, _, names in paths.walk(tmp_path / "top", pytest.fail) for name in names]
    assert [Path(path).name for path in found] == ["file"]


def test_new_folders_that_stay_empty_are_removed(tmp_path):
    (tmp_path / "there").mkdir()
    for content in (False, True):
        with paths.leaving_no_empty_folders(tmp_path / "there" / "new" / "deep"):
            (tmp_path / "there" / "new" / "deep").mkdir(parents=True)
            if content:
                (tmp_path / "there" / "new" / "file").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "new", "there"]
    with paths.leaving_no_empty_folders(tmp_path / "there"):
        pass
    assert (tmp_path / "there").is_dir()


def test_a_folder_is_made_although_another_process_removes_its_parent_meanwhile(tmp_path, monkeypatch):
    mkdir, removed = os.mkdir, []

    def with_another_process(path, *arguments):
        if os.path.basename(path) == "new" and os.path.isdir(tmp_path / "parent") and not removed:
            removed.append(path)
            os.rmdir(tmp_path / "parent")
        mkdir(path, *arguments)

    monkeypatch.setattr(os, "mkdir", with_another_process)
    (tmp_path / "parent").mkdir()
    paths.make_folder(tmp_path / "parent" / "new")
    assert (tmp_path / "parent" / "new").is_dir() and removed
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        paths.make_folder(tmp_path / "file" / "new")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "deep")
    with pytest.raises(OSError):
        paths.make_folder(tmp_path / "dangling")


def test_names_that_differ_only_in_bytes_that_are_not_utf_8_can_be_told_apart():
    names = [os.fsdecode(name) for name in (b"caf\xe8.png", b"caf\xe9.png", "café.png".encode())]
    assert [paths.printable(name) for name in names] == [r"caf\xe8.png", r"caf\xe9.png", "café.png"]
