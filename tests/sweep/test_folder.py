import json

import pytest
from PIL import Image

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary.plan import read_plan
from chimeramix_jax.sweep.folder import check_folder, write_plan
from chimeramix_jax.sweep.selection import select


def test_summaries_can_read_the_plan_file_and_it_keeps_earlier_runs(runs, tmp_path):
    folder = tmp_path / "sweep"
    write_plan(folder, runs("baseline", seeds="0:2"))
    write_plan(folder, runs("baseline", images="10,all", seeds="1"))
    addresses = [(run.workdir.name, run.address.images_per_class, run.address.seed) for run in read_plan(folder)]
    assert addresses == [
        ("digits-baseline-5-per-class-seed-0", 5, 0),
        ("digits-baseline-5-per-class-seed-1", 5, 1),
        ("digits-baseline-10-per-class-seed-1", 10, 1),
        ("digits-baseline-all-per-class-seed-1", None, 1),
    ]


def test_a_new_folder_and_the_folder_of_the_same_sweep_are_accepted(runs, tmp_path):
    selected = runs()
    check_folder(tmp_path / "sweep", selected)
    write_plan(tmp_path / "sweep", selected)
    check_folder(tmp_path / "sweep", selected)


def test_a_folder_with_other_files_is_rejected(runs, tmp_path):
    selected = runs()
    selected[0].workdir.mkdir(parents=True)
    (tmp_path / "sweep" / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not empty and not a sweep"):
        check_folder(tmp_path / "sweep", selected)
    write_plan(tmp_path / "sweep", selected)
    (selected[0].workdir / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"digits-chimeramix_grid-5-per-class-seed-0 is not empty and not a run"):
        check_folder(tmp_path / "sweep", selected)


def test_what_a_killed_start_leaves_does_not_make_a_folder_another_ones(runs, tmp_path):
    selected = runs()
    run = selected[0].workdir
    for unfinished in (
        tmp_path / "sweep" / ".sweep.json.0123456789abcdef.part",
        run / ".config.json.0123456789abcdef.part",
    ):
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    (run / "extensions").mkdir()
    (run / "folds" / "fold-1-of-3").mkdir(parents=True)
    run.rename(tmp_path / "run")
    check_folder(tmp_path / "sweep", selected)
    write_plan(tmp_path / "sweep", selected)
    (tmp_path / "run").rename(run)
    check_folder(tmp_path / "sweep", selected)


def test_a_file_instead_of_the_folder_is_rejected(runs, tmp_path):
    (tmp_path / "sweep").touch()
    with pytest.raises(InputError, match="is not a folder"):
        check_folder(tmp_path / "sweep", runs())


def test_a_run_with_different_settings_is_rejected_with_the_difference(runs, tmp_path, finish):
    (run,) = runs("baseline", overrides=["--config.classifier.epochs=7"])
    (requested,) = runs("baseline")
    write_plan(tmp_path / "sweep", [run])
    finish(run)
    run.workdir.rename(requested.workdir)
    expected = r"a run with different settings \(classifier.epochs: 7 stored, 20 requested\)"
    with pytest.raises(InputError, match=expected):
        check_folder(tmp_path / "sweep", [requested])


def test_runs_on_an_image_folder_that_has_changed_are_rejected(runs, tmp_path, finish):
    for number in range(12):
        path = tmp_path / "photos" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 9 * number).save(path)
    overrides = [f"--config.dataset.directory={tmp_path / 'photos'}", f"--config.dataset.data_dir={tmp_path / 'tfds'}"]
    (run,) = runs("baseline", images="2", datasets="image_folder", overrides=overrides)
    write_plan(tmp_path / "sweep", [run])
    finish(run)
    config = run.config
    identity = load_few_shot(config.dataset, config.max_labels_per_class, config.seed).identity
    Workdir(run.workdir).claim_data(identity)
    check_folder(tmp_path / "sweep", [run])
    for name in ("cat", "dog"):
        Image.new("L", (8, 8), 200 + len(name)).save(tmp_path / "photos" / name / "0-new.png")
        Image.new("L", (8, 8), 220 + len(name)).save(tmp_path / "photos" / name / "0-newer.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "photos" / "cat" / "1.png")
    with pytest.raises(InputError, match=r"a run on different data \(.*new image"):
        check_folder(tmp_path / "sweep", [run])


def test_a_sweep_in_the_folder_of_its_photos_is_rejected(runs, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    overrides = [f"--config.dataset.directory={tmp_path}"]
    selected = runs("baseline", datasets="image_folder", overrides=overrides)
    with pytest.raises(InputError, match=f"^--workdir=.*: lies in the folder of photos {tmp_path},"):
        check_folder(tmp_path / "sweep", selected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat", "dog"]


def test_a_folder_with_the_place_of_a_seed_is_rejected(tmp_path):
    folder = tmp_path / "{seed}" / "sweep"
    with pytest.raises(InputError, match=r"contains \{seed\}, which stands for the seed"):
        check_folder(folder, select(folder, "digits", "baseline", "5", "0,1"))


def test_a_folder_inside_that_of_another_sweep_is_rejected(runs, tmp_path):
    (tmp_path / "sweep.json").write_text(json.dumps({"runs": []}))
    with pytest.raises(InputError, match="the folder of another sweep"):
        check_folder(tmp_path / "sweep", runs())
