import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from chimeramix_jax import files
from chimeramix_jax.errors import InputError, StorageError


def test_missing_parent_folders_are_created(tmp_path):
    target = tmp_path / "a" / "b" / "results.json"
    files.write_json(target, {"top_1": 0.5})
    assert json.loads(target.read_text()) == {"top_1": 0.5}


def test_a_failed_write_leaves_only_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "results.json"
    files.write_bytes(target, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        files.write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_write_leaves_is_recognized_by_its_name(tmp_path):
    killed = "import os, signal; from pathlib import Path; from chimeramix_jax import files; "
    killed += "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL); files.write_bytes(Path('a.json'), b'new')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", killed], cwd=tmp_path, env=environment).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == b"new"
    assert files.is_unfinished(left.name)
    assert not any(map(files.is_unfinished, ("of a user.part", f"{left.name[:-5]}.folder.part")))


def test_a_value_that_json_cannot_represent_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "results.json", {"what": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_has_the_permissions_that_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_values_are_converted_to_json_types():
    value = {"path": Path("runs"), "scalar": np.float32(0.5), "row": np.arange(3), "pair": (1, None), 7: float("nan")}
    plain = files.plain(value)
    assert plain == {"path": "runs", "scalar": 0.5, "row": [0, 1, 2], "pair": [1, None], "7": None}
    assert [type(number) for number in plain["row"]] == [int, int, int]


def test_infinities_inside_arrays_become_null():
    assert files.plain(np.array([1.0, np.inf, np.nan])) == [1.0, None, None]


def test_a_folder_appears_under_its_name_only_when_it_is_complete(tmp_path):
    target = tmp_path / "sub" / "folder"
    before = os.umask(0o022)
    try:
        with files.whole_folder(target) as unfinished:
            (unfinished / "a").write_text("a")
            assert not target.exists()
    finally:
        os.umask(before)
    assert (target / "a").read_text() == "a" and os.listdir(target.parent) == ["folder"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_a_folder_that_cannot_be_filled_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "folder") as unfinished:
        (unfinished / "a").write_text("a")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_folder_may_replace_an_empty_folder_but_nothing_else(tmp_path):
    (tmp_path / "empty").mkdir()
    with files.whole_folder(tmp_path / "empty") as unfinished:
        (unfinished / "a").write_text("a")
    for taken in (tmp_path / "empty", tmp_path / "empty" / "a"):
        with pytest.raises(InputError, match="already exists"), files.whole_folder(taken):
            pass
    assert (tmp_path / "empty" / "a").read_text() == "a"


def test_writing_through_a_link_changes_its_target_and_keeps_the_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    for content in (b"first", b"second"):
        files.write_bytes(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "file").read_bytes() == content


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o664, 0o666])
def test_an_existing_file_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    files.write_bytes(tmp_path / "file", b"new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_pipes_and_devices_are_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as reader:
        content = reader.submit((tmp_path / "pipe").read_bytes)
        files.write_bytes(tmp_path / "pipe", b"content")
        assert content.result(10) == b"content"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "null").symlink_to(os.devnull)
    files.write_bytes(tmp_path / "null", b"content")
    assert (tmp_path / "null").is_symlink() and not Path(os.devnull).is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_device_without_room_is_an_error_of_storing():
    with pytest.raises(StorageError, match=r"/dev/full: cannot be written: No space left on device"):
        files.write_bytes("/dev/full", b"content")


@pytest.mark.parametrize("leads_to", ["/dev/stdout", "/proc/self/fd/1"])
def test_what_the_process_writes_to_already_is_written_on_and_not_replaced(tmp_path, leads_to):
    (tmp_path / "link").symlink_to(leads_to)
    code = (
        "import os, sys; from chimeramix_jax import files; os.write(1, b'first '); "
        "files.write_bytes(sys.argv[1], b'second '); os.write(1, b'third')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for named in (leads_to, tmp_path / "link"):
        with open(tmp_path / "file", "wb") as file:
            subprocess.run([sys.executable, "-c", code, named], stdout=file, env=environment, check=True, timeout=60)
        assert (tmp_path / "file").read_bytes() == b"first second third"


def test_a_process_substitution_receives_the_content(tmp_path):
    receiver, sender = os.pipe()
    files.write_bytes(f"/dev/fd/{sender}", b"content")
    assert os.read(receiver, 100) == b"content"
    os.close(receiver)
    files.write_bytes(f"/dev/fd/{sender}", b"nobody reads this")
    os.close(sender)


def test_a_linked_empty_folder_and_the_current_folder_can_be_filled(tmp_path, monkeypatch):
    for name in ("disk", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "disk" / "lost+found").mkdir()  # as on a new disk that is mounted there
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.chdir(tmp_path / "here")
    for target in (tmp_path / "link", Path(".")):
        with files.whole_folder(target) as unfinished:
            (unfinished / "class").mkdir()
            (unfinished / "class" / "a").write_text("a")
        assert (target / "class" / "a").read_text() == "a"
        assert not list(target.glob(".*"))
    assert (tmp_path / "link").is_symlink()


def test_a_folder_is_filled_where_an_empty_disk_is_mounted(tmp_path):
    code = (
        "import pathlib, sys; from chimeramix_jax import files\n"
        "with files.whole_folder(pathlib.Path(sys.argv[1])) as folder: (folder / 'a').write_text('a')"
    )
    mounted = 'mount -t tmpfs none "$0" && "$1" -c "$2" "$0" && ls -A "$0"'
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    ended = subprocess.run(
        ["unshare", "-m", "bash", "-c", mounted, tmp_path, sys.executable, code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "a\n", "")


def test_no_folder_is_created_through_a_dangling_link(tmp_path):
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(InputError, match="already exists"), files.whole_folder(tmp_path / "link"):
        pass
    assert os.listdir(tmp_path) == ["link"]


def test_parent_folders_of_a_failed_folder_are_removed(tmp_path):
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_folder_that_takes_no_files_is_refused_beforehand(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "closed" / "file")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    for closed in ("closed/new", "closed/deep/new", "link"):  # root may write everywhere, whatever the mode
        with pytest.raises(InputError, match=r"^--output=.*: cannot be written because .*/closed is not writable$"):
            files.refuse_unwritable(tmp_path / closed, "--output")
    with pytest.raises(InputError, match=r"cannot be written because .*/file is not a folder"):
        files.refuse_unwritable(tmp_path / "file" / "new", "--output")
    for fine in (tmp_path / "file", tmp_path / "a" / "b", Path("/dev/null"), Path("new")):
        files.refuse_unwritable(fine, "--output")
    assert sorted(os.listdir(tmp_path)) == ["closed", "file", "link"]


@pytest.mark.parametrize("name", ["n" * 255, 127 * "é", 63 * "🐈", os.fsdecode(200 * b"\xe9")])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path, monkeypatch, name):
    files.write_bytes(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"
    (tmp_path / "folder").mkdir()
    with files.whole_folder(tmp_path / "folder" / name) as unfinished:
        assert files.is_unfinished(unfinished.name)
    assert os.listdir(tmp_path / "folder") == [name]
    monkeypatch.setattr(os, "unlink", lambda path: None)
    monkeypatch.setattr(os, "replace", lambda *_: 1 / 0)  # as if the process were killed
    with pytest.raises(ZeroDivisionError):
        files.write_bytes(tmp_path / name, b"new")
    monkeypatch.undo()
    of_earlier_versions = f".{'n' * 200}.0123456789abcdef.part"
    (tmp_path / of_earlier_versions).touch()
    assert len(os.listdir(tmp_path)) == 4
    assert sorted(filter(lambda left: not files.is_unfinished(left), os.listdir(tmp_path))) == ["folder", name]


def test_a_write_protected_file_is_refused_beforehand(tmp_path, monkeypatch):
    (tmp_path / "file").touch(0o444)
    (tmp_path / "link").symlink_to("file")
    for path in (tmp_path / "file", tmp_path / "link"):
        if os.geteuid() != 0:
            with pytest.raises(InputError, match=r"^--output=.*: is write-protected"):
                files.refuse_unwritable(path, "--output")
        monkeypatch.setattr(os, "access", lambda place, mode: False)  # root may write everything
        with pytest.raises(InputError, match=r"^--output=\S+/(file|link): is write-protected; name another file"):
            files.refuse_unwritable(path, "--output")
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "any words"), "No space left on device"),
        (ValueError("INTERNAL: write failed: Disk quota exceeded [file='x']"), "Disk quota exceeded"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("RESOURCE_EXHAUSTED: open failed: Too many open files [file='x']"), "Too many open files"),
        (ValueError("a shape is wrong"), None),
        (FileNotFoundError(2, "No such file or directory"), None),
    ],
)
def test_storage_errors_are_recognized_by_number_or_text(error, reason):
    assert files.reason_of_storage(error) == reason
    wrapped = RuntimeError("could not be saved")
    wrapped.__cause__ = error
    assert files.reason_of_storage(wrapped) == reason
    if reason is not None:
        says_room = " needed, " in str(files.storage_error(Path("x"), 1, error))
        assert says_room == (reason not in ("Permission denied", "Too many open files"))


def test_bytes_of_names_that_are_not_utf_8_are_written_as_escapes(tmp_path):
    files.write_text(tmp_path / "page", f"für {os.fsdecode(b'caf' + bytes([0xE9]))}")
    assert (tmp_path / "page").read_text(encoding="utf-8") == "für caf\\xe9"
