"""The comparison of ``dataset.fit``, with runs that train nothing."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import chimeramix_jax
from benchmarks import photo_fits
from chimeramix_jax import config as settings
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.runs.workdir import Workdir

CHANGES = ["--config.dataset.image_side=8", "--per_class=3"]


@pytest.fixture
def images(tmp_path):
    """Wide photos of two classes, of different colours for training and testing."""
    for split, level in (("train", 50), ("test", 200)):
        for label, name in enumerate("ab"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (30, 20), (level, 100 * label, 10 * number)).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: records the settings of every run, and returns these records."""
    records = []

    def train_and_evaluate(config, workdir):
        dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed, config.folds, config.fold)
        records.append((config, dataset))
        run = Workdir(workdir)
        run.create()
        run.claim(config)
        top1 = (0.5, 0.75, 0.6)[("crop", "pad", "stretch").index(config.dataset.fit)] + 0.01 * config.seed
        results = {"validation": {"top1": top1, "examples": len(dataset.held_out.labels)}}
        run.results.write_text(json.dumps(results))
        return results

    monkeypatch.setattr(chimeramix_jax, "train_and_evaluate", train_and_evaluate)
    monkeypatch.setattr(photo_fits.cpu_setup, "prepare", lambda: None)
    monkeypatch.setattr(photo_fits.compilation_cache, "enable", lambda: None)
    return records


@pytest.fixture
def compare(images, tmp_path, monkeypatch, capsys):
    def run(*more, folder=images):
        arguments = [f"--images={folder}", f"--workdir={tmp_path / 'fits'}", *CHANGES, *more]
        monkeypatch.setattr(sys, "argv", ["photo_fits", *arguments])
        photo_fits.main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("folds", "most"), [(0, 10), (3, 2)])  # 16 photos less 6 drawn; a third of those
def test_every_fit_is_measured_on_the_same_training_photos_and_never_on_test_photos(compare, trained, folds, most):
    printed = compare("--seeds=0:2", f"--folds={folds}")
    assert len(trained) == 2 * 3 * max(folds, 1)
    drawn = {}
    for config, dataset in trained:
        settings.check(config)
        assert config.dataset.evaluate_on == "validation" and not config.compare_with_baseline
        photos = [*dataset.train.images, *dataset.held_out.images]
        assert not any((image[4, 4] >= 200).any() for image in photos)
        assert 0 < len(dataset.held_out.labels) <= most
        drawn.setdefault((config.seed, config.fold), set()).add(dataset.held_out.names)
    assert all(len(names) == 1 for names in drawn.values()) and len(drawn) == 2 * max(folds, 1)
    assert "pad - crop" in printed and "25.00 ±0.00" in printed


def test_the_command_resumes_and_reports_what_is_finished(compare, trained, tmp_path):
    printed = compare("--seeds=0", "--fits=crop,pad")
    assert "stretch" not in printed.partition("\n\n")[2] and len(trained) == 2
    printed = compare("--seeds=0:2", "--report")
    assert len(trained) == 2 and "unfinished" in printed
    compare("--seeds=0:2")
    assert len(trained) == 6
    compare("--seeds=0:2")
    assert len(trained) == 6
    with pytest.raises(
        SystemExit, match=r"holds a run with other settings \(classifier.epochs: 128 stored, 3 requested"
    ):
        compare("--seeds=0:2", "--config.classifier.epochs=3")
    assert {path.name for path in Path(tmp_path / "fits").iterdir()} == {"crop", "pad", "stretch", "prepared"}


def test_what_cannot_be_compared_is_refused_in_one_line(compare, trained, images):
    for arguments, message in (
        (["--fits=crop,squeeze"], "--fits: 'crop,squeeze'; it must name some of crop, pad, stretch, each once"),
        (["--seeds="], "--seeds: names no seed"),
        (["--epochs=3"], "--epochs=3: there is no such flag"),
    ):
        with pytest.raises(SystemExit) as refused:
            compare(*arguments)
        assert message in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(SystemExit, match="has no folder train, so the folds would include photos for testing"):
        compare("--folds=2", folder=images / "train")
    assert not trained
