"""A new run takes the place of an old one, also if the process is killed before any of the steps."""

import datetime
import json
import shutil
from pathlib import Path

import pytest
from killed import Killed

from chimeramix_jax.config import load, to_json
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import replacement
from chimeramix_jax.runs.workdir import Workdir

OF_RUN = ("config.json", "data.json", "results.json", "report.html", "classifier/metrics.jsonl")
ONLY_OLD = (
    "auto.json",
    "model.onnx",
    "generated/0.png",
    "results.replaced-1.json",
    "classifier.replaced-1/metrics.jsonl",
)
OF_USER = ("photos/roses/1.jpg", "notes.txt", "before-2020-01-01/config.json", "model-notes.txt")


def write(folder, names, content):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(load("digits")) if path.name == "config.json" else content)


@pytest.fixture
def workdir(tmp_path):
    run = Workdir(tmp_path / "run")
    write(run.path, (*OF_RUN, *ONLY_OLD), "old")
    write(run.path, OF_USER, "user")
    write(replacement.new_run(run).path, (*OF_RUN, "update.json", "lock.json"), "new")
    (run.path / "generator_from.json").write_text(json.dumps({"workdir": "../other"}))
    return run


def holds(folder, names, content):
    paths = [folder / name for name in names]
    return all(path.exists() and (path.name == "config.json" or path.read_text() == content) for path in paths)


def assert_replaced(run, before):
    assert holds(run.path, (*OF_RUN, "update.json"), "new") and holds(run.path, OF_USER, "user")
    assert holds(before, (*OF_RUN, *ONLY_OLD), "old")
    assert not any((run.path / name).exists() for name in ONLY_OLD)
    assert (before / json.loads((before / "generator_from.json").read_text())["workdir"]).resolve() == (
        run.path.parent / "other"
    )
    assert not (run.path / "generator_from.json").exists()
    assert replacement.is_replaced(run) and not run.replacing.exists()


def test_the_old_run_is_kept_with_what_was_made_from_it_and_other_files_stay(workdir):
    name = replacement.name_of_old(workdir)
    assert name == f"before-{datetime.date.today().isoformat()}"
    replacement.replace(workdir, name, workdir.path / "photos")
    assert_replaced(workdir, workdir.path / name)
    assert replacement.name_of_old(workdir) == f"{name}-2"
    replacement.discard(workdir)
    assert not workdir.update.exists() and not replacement.is_replaced(workdir)


def test_a_kill_before_any_step_leaves_a_whole_run_and_the_next_call_finishes(workdir, monkeypatch, tmp_path):
    rename, kills = Path.rename, 0

    def dying(remaining):
        def rename_or_die(path, target):
            nonlocal remaining
            remaining -= 1
            if remaining < 0:
                raise Killed
            return rename(path, target)

        return rename_or_die

    before, new = workdir.path / "before-2026-11-28", replacement.new_run(workdir).path
    while True:  # each process does one step more before it is killed
        monkeypatch.setattr(Path, "rename", dying(1 if kills else 0))
        try:
            replacement.finish(workdir) if kills else replacement.replace(workdir, before.name, workdir.path)
        except Killed:
            kills += 1
        else:
            break
        places = [(workdir.path, "new"), (new, "new"), (before, "old"), (workdir.path, "old")]
        assert any(holds(folder, OF_RUN, content) for folder, content in places)
        assert replacement.stored_settings(workdir).dataset.name == "digits"
        for use in (workdir.read_config, lambda: workdir.check(load("digits"))):
            with pytest.raises(InputError, match="finish it with --stage=update"):
                use()
    assert kills > len(OF_RUN) + len(ONLY_OLD)
    assert_replaced(workdir, before)
    assert workdir.read_config().dataset.name == "digits"


def test_where_no_run_is_the_message_says_what_is_there(tmp_path):
    (tmp_path / "auto").mkdir()
    (tmp_path / "auto" / "auto.json").write_text("{}")
    write(tmp_path / "seeds" / "seed-0", ("config.json",), "")
    for name, expected in (
        ("nothing", "nothing: holds no run$"),
        ("seeds", rf"holds no run; did you mean {tmp_path / 'seeds' / 'seed-0'}\?$"),
        ("auto", "the choice of a recipe is not finished"),
    ):
        with pytest.raises(InputError, match=expected):
            replacement.stored_settings(Workdir(tmp_path / name))


def test_photos_inside_the_run_stay_whatever_their_folder_is_called(workdir):
    replacement.replace(workdir, "before", workdir.path / "generated")
    assert holds(workdir.path, ("generated/0.png",), "old")
    assert holds(workdir.path / "before", ("model.onnx",), "old")


def test_discarding_an_update_deletes_only_what_it_has_made(workdir):
    write(workdir.path, ("update/run/photo.jpg",), "user")
    write(workdir.update, (".replacing.json.0123456789abcdef.part",), "left by a killed process")
    write(workdir.update, (".DS_Store", "notes/seen.txt"), "left by a file manager, and by somebody")
    replacement.discard(workdir)
    assert holds(workdir.path, ("update/run/photo.jpg",), "user") and holds(workdir.path, OF_RUN, "old")
    assert not workdir.update.exists()


def test_a_new_run_that_was_discarded_in_part_is_gone_and_the_next_call_discards_the_rest(workdir, monkeypatch):
    remove, new = shutil.rmtree, replacement.new_run(workdir).path

    def die_half_way(folder):
        (folder / "config.json").unlink()
        raise Killed

    monkeypatch.setattr(replacement.shutil, "rmtree", die_half_way)
    with pytest.raises(Killed):
        replacement.discard(workdir)
    assert not new.exists()  # so that nothing continues half a run
    monkeypatch.setattr(replacement.shutil, "rmtree", remove)
    new.mkdir()
    replacement.discard(workdir)
    assert not workdir.update.exists() and holds(workdir.path, OF_RUN, "old")
