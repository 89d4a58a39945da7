"""Checkpoints that are damaged, incomplete, or too large for the disk."""

import errno
import os
import re
import resource
import shutil
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.toy_stage import train, weights

from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.training import checkpoint_manifest
from chimeramix_jax.training.checkpoints import DamagedCheckpointWarning, StageCheckpoints, newest


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training run with two checkpoints: its final weights, and its directory."""
    directory = tmp_path_factory.mktemp("finished")
    return weights(train(directory)), directory


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def remove(path):
    path.unlink()


def all_files(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, remove])
def test_damage_to_any_file_of_a_checkpoint_is_detected_and_the_file_named(finished, tmp_path, damage):
    intact = finished[1] / "checkpoints" / "18"
    assert checkpoint_manifest.damage(intact) is None
    faults = 0
    for name in [path.relative_to(intact) for path in all_files(intact)]:
        copy = shutil.copytree(intact, tmp_path / str(faults))
        if (copy / name).stat().st_size:
            damage(copy / name)
            message = checkpoint_manifest.damage(copy)
            # A damaged manifest may blame other files.
            assert message and (str(name) in message or name.name == checkpoint_manifest.NAME)
            faults += 1
    assert faults > 10


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, remove])
def test_training_falls_back_to_an_intact_checkpoint_with_a_warning_and_ends_the_same(finished, tmp_path, damage):
    expected, directory = finished
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    largest = max(all_files(tmp_path / "checkpoints" / "18" / "generator"), key=lambda path: path.stat().st_size)
    damage(largest)
    with pytest.warns(DamagedCheckpointWarning, match=rf"checkpoints/18: .*{largest.name}.*going back to .*/12"):
        trained = train(tmp_path)
    assert weights(trained) == expected
    assert (tmp_path / "metrics.jsonl").read_bytes() == (directory / "metrics.jsonl").read_bytes()
    assert (tmp_path / "checkpoints" / "18.damaged").is_dir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert newest(tmp_path)["epoch"] == 3


@pytest.mark.parametrize("name", ["²", "٣", "007", "+1", "1_0", "latest"])
def test_folders_with_other_names_are_no_checkpoints(finished, tmp_path, name):
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoints" / name).mkdir()
    assert newest(tmp_path)["step"] == 18
    assert weights(train(tmp_path)) == finished[0]


def test_nothing_is_overwritten_if_no_checkpoint_is_intact(finished, tmp_path):
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    for step in (12, 18):
        flip_a_byte(tmp_path / "checkpoints" / str(step) / "generator" / "_METADATA")
    before = {path: path.read_bytes() for path in all_files(tmp_path)}
    for read in (train, newest):
        with pytest.raises(InputError, match=r"no intact checkpoint \(18: generator/_METADATA .*12: .*start over"):
            read(tmp_path)
    assert {path: path.read_bytes() for path in all_files(tmp_path)} == before


def test_half_written_and_half_deleted_checkpoints_of_a_killed_run_are_removed(finished, tmp_path):
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(checkpoints / "18", checkpoints / "19.part")
    (checkpoints / "19.part" / checkpoint_manifest.NAME).unlink()
    (checkpoints / "6.old.part").mkdir()
    (checkpoints / "20.part.orbax-checkpoint-tmp").mkdir()
    assert newest(tmp_path)["step"] == 18
    assert weights(train(tmp_path)) == finished[0]
    assert sorted(path.name for path in checkpoints.iterdir()) == ["12", "18"]


def test_what_cannot_be_read_for_the_moment_is_no_damage(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    before, opened = all_files(tmp_path), Path.open

    def gone(path, *arguments, **options):
        if "18" in path.parts:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", gone)
    with pytest.raises(InputError, match=r"checkpoints/18/.*: cannot be read: Stale file handle; try again"):
        train(tmp_path)
    monkeypatch.undo()
    assert all_files(tmp_path) == before and newest(tmp_path)["step"] == 18


def test_training_goes_on_if_an_old_checkpoint_cannot_be_deleted(finished, tmp_path, monkeypatch):
    remove = shutil.rmtree

    def busy(path, ignore_errors=False):
        if not ignore_errors:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if ".old" not in str(path):
            remove(path, ignore_errors=True)

    monkeypatch.setattr(shutil, "rmtree", busy)
    assert weights(train(tmp_path)) == finished[0]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()) == ["12", "18"]


def test_a_checkpoint_is_on_the_disk_before_an_older_one_is_deleted(tmp_path, monkeypatch):
    synced, rename, events = os.fsync, os.rename, []

    def sync(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced(descriptor)

    def renamed(source, target):
        events.append(f"{Path(source).name} to {Path(target).name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", renamed)
    with StageCheckpoints(tmp_path, keep=1) as stored:
        stored.save(1, {"network": {"weight": jnp.ones(2)}}, {"epoch": 1})
        stored.save(2, {"network": {"weight": jnp.ones(2)}}, {"epoch": 1})
    named = events.index("2.part to 2")
    assert {path.replace("/2/", "/2.part/") for path in map(str, all_files(tmp_path / "2"))} <= {
        re.sub(r"/\.(manifest\.json)\..*", r"/\1", event) for event in events[:named]
    }
    assert str(tmp_path / "2.part") in events[:named]
    deleted = next(index for index, event in enumerate(events) if event.startswith("1 to "))
    assert str(tmp_path) in events[named:deleted]


@pytest.fixture
def file_size_limit():
    """Limits the size of files; the operating system then reports errors as for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_does_not_fit_is_an_error_with_path_and_size_and_the_last_one_stays(
    finished, tmp_path, file_size_limit
):
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    large = {"size": 100_000}
    with StageCheckpoints(tmp_path / "checkpoints", keep=1) as checkpoints:
        state = train(tmp_path / "large", epochs=1, **large).state
        file_size_limit(50_000)
        with pytest.raises(StorageError, match=r"checkpoints/24: cannot be written: File too large \(400.0 kB needed"):
            checkpoints.save(24, state, {})
            checkpoints.wait()
        assert checkpoints.latest_step() == 18
    assert (tmp_path / "checkpoints" / "12").exists() and not (tmp_path / "checkpoints" / "24").exists()


def test_training_ends_if_a_checkpoint_does_not_fit(tmp_path, file_size_limit):
    changes = {"size": 100_000, "epochs": 2}
    file_size_limit(50_000)
    with pytest.raises(StorageError, match="checkpoints/6: cannot be written"):
        train(tmp_path, **changes)
    file_size_limit(resource.RLIM_INFINITY)
    assert train(tmp_path, **changes).state["optimizer"]["count"] == 12


def test_several_threads_can_write_checkpoints_at_the_same_time(tmp_path):
    def save_five(number):
        with StageCheckpoints(tmp_path / str(number)) as checkpoints:
            for step in range(1, 6):
                checkpoints.save(step, {name: {"array": jnp.full(1000, number)} for name in "abcd"}, {"step": step})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save_five, range(8)))
    for number in range(8):
        with StageCheckpoints(tmp_path / str(number), read_only=True) as checkpoints:
            state, about = checkpoints.restore(
                checkpoints.latest_step(), {"d": {"array": jax.ShapeDtypeStruct((1000,), jnp.int32)}}
            )
        assert about == {"step": 5} and np.all(state["d"]["array"] == number)


STATE = {"network": {"array": jnp.arange(4.0)}}
ABSTRACT = {"network": {"array": jax.ShapeDtypeStruct((4,), jnp.float32)}}


@pytest.mark.parametrize(
    "name", ["a[1]b", "[ab]", "a*b", "a?b", "a\\b", "a]b", pytest.param(os.fsdecode(b"caf\xe9"), id="not UTF-8")]
)
def test_glob_characters_and_bytes_that_are_not_utf_8_in_a_path_are_taken_literally(tmp_path, name):
    directory = tmp_path / name / "checkpoints"
    with StageCheckpoints(directory) as checkpoints:
        checkpoints.save(3, STATE, {"step": 3})
    with StageCheckpoints(directory, read_only=True) as checkpoints:
        assert checkpoints.latest_step() == 3
        state, about = checkpoints.restore(3, ABSTRACT)
    assert about == {"step": 3} and state["network"]["array"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nothing_is_started_if_the_temporary_folder_has_special_characters_too(tmp_path, monkeypatch):
    (tmp_path / "t[m]p").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t[m]p"))
    with pytest.raises(InputError, match="TMPDIR"):
        StageCheckpoints(tmp_path / "[run]")


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_kill_while_a_step_is_saved_again_leaves_the_old_or_the_new_checkpoint(tmp_path, monkeypatch, killed_after):
    with StageCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(3, STATE, {"try": "first"})
    renames = []

    class Kill(BaseException):
        """Ends the process without cleanup."""

    def rename(source, target):
        if Path(target).name in ("3", "3.replaced"):  # Orbax renames, too
            renames.append(target)
        if len(renames) > killed_after:
            raise Kill
        os.replace(source, target)

    def rmtree(path, **_):
        raise Kill

    with monkeypatch.context() as patch:
        checkpoints = StageCheckpoints(tmp_path)
        patch.setattr("chimeramix_jax.training.checkpoints.os.rename", rename)
        patch.setattr("chimeramix_jax.training.checkpoints.shutil.rmtree", rmtree)
        with pytest.raises(Kill):
            checkpoints._write(3, STATE, {"try": "second"})
    expected = {"try": "first" if killed_after == 1 else "second"}
    for read_only in (True, False):
        with StageCheckpoints(tmp_path, read_only=read_only) as checkpoints:
            assert checkpoints.latest_step() == 3 and checkpoints.about(3) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_an_error_unrelated_to_the_disk_is_not_reported_as_a_full_disk(tmp_path):
    with StageCheckpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError, match="not JSON serializable"):
            checkpoints.save(3, STATE, {"about": object()})
            checkpoints.wait()
        assert checkpoints.latest_step() is None


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_part_that_cannot_be_written_leaves_neither_files_nor_threads_that_still_write(tmp_path):
    large = {f"layer {number}": jnp.ones((300, 300)) for number in range(20)}  # takes longer than the part that fails
    with StageCheckpoints(tmp_path) as checkpoints:
        for _ in range(3):
            with pytest.raises(TypeError, match="not JSON serializable"):
                checkpoints.save(3, {**STATE, "large": large}, {"about": object()})
                checkpoints.wait()
            writing = [thread.name for thread in threading.enumerate() if "orbax" in type(thread).__module__]
            assert not writing and not list(tmp_path.iterdir())


def test_folders_that_cannot_be_made_are_reported_at_once(tmp_path, monkeypatch):
    make = os.mkdir

    def full(path, *arguments, **options):
        if Path(path).name.startswith("network"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        make(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", full)
    start = time.monotonic()
    with pytest.raises(StorageError, match="No space left"), StageCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(3, {"network": STATE["network"]}, {})
    assert time.monotonic() - start < 30  # Orbax's threads would wait for the folder for ten minutes
    assert not [thread for thread in threading.enumerate() if "orbax" in type(thread).__module__]
    assert not list(tmp_path.iterdir())
