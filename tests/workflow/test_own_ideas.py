"""The examples of docs/own_ideas, all in one run, which is then used although their files are out of reach."""

import json
import shutil

import pytest
from conftest import ROOT, TINY

import chimeramix_jax
from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions.registry import STATE
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import own_functions

SMALL = {key: value for key, value in TINY.items() if key != "classifier.model"}
EXAMPLES = ("focal_loss.py", "shapes.py", "small_network.py", "speckle.py", "stripes.py")


@pytest.fixture(scope="module", autouse=True)
def forgotten_afterwards():
    """Forgets in the end what these tests have registered, which others would find among the program's own."""
    before = dict(STATE.current)
    yield
    STATE.current = before


@pytest.fixture(scope="module")
def own_files(tmp_path_factory):
    """A copy of the examples, which tests may change."""
    return shutil.copytree(ROOT / "docs" / "own_ideas", tmp_path_factory.mktemp("files") / "own_ideas")


@pytest.fixture(scope="module")
def make_settings(data_dir, own_files):
    def make(name="all_together.py", **changes):
        config = settings.load(str(own_files / name))
        config.update_from_flattened_dict(SMALL | {"dataset.data_dir": str(data_dir)} | changes)
        return config

    return make


@pytest.fixture(scope="module")
def run(make_settings, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("own") / "run"
    chimeramix_jax.train_and_evaluate(make_settings(), workdir)
    return workdir


@pytest.mark.parametrize("name", ["all_together.py", *EXAMPLES])
def test_every_example_has_valid_settings(make_settings, name):
    config = make_settings(name)
    settings.check(config, environment=False)
    assert len(settings.codes(config)) == (len(EXAMPLES) if name == "all_together.py" else 1)


def test_the_file_on_the_page_is_one(tmp_path):
    page = (ROOT / "docs" / "own_ideas.md").read_text()
    file, get_config = (block.partition("```")[0] for block in page.split("```python\n")[1:3])
    (tmp_path / "mine.py").write_text(f"{file}\n{get_config}".replace("speckle", "grain"))  # which no other file has
    config = settings.load(f"{tmp_path}/mine.py:grain")
    own_functions.check(config)
    assert config.augment.own_code.startswith("mine.py ") and config.dataset.directory == "photos"
    assert settings.load(f"{tmp_path}/mine.py:chimeramix_grid").mixing.mask == "grid"


def test_a_run_keeps_copies_of_the_files_and_names_them_in_its_report(run):
    assert sorted(path.name for path in (run / "extensions").iterdir()) == sorted(EXAMPLES)
    for name in EXAMPLES:
        assert (run / "extensions" / name).read_bytes() == (ROOT / "docs" / "own_ideas" / name).read_bytes()
    card = " ".join((run / "model_card.md").read_text().split())
    assert "a custom one ('small" in card and "a custom loss ('focal')" in card and "speckle.py (SHA-256" in card
    assert json.loads((run / "results.json").read_text())["config"]["mixing"]["mask_code"].startswith("stripes.py ")


def test_the_run_can_be_used_without_the_files(run, nothing_registered):
    results = json.loads((run / "results.json").read_text())
    again = chimeramix_jax.train_and_evaluate(Workdir(run).read_config(), run, stage="evaluate")
    assert again["test"]["loss"] == results["test"]["loss"]
    (prediction,) = chimeramix_jax.predict(run, run / "images.png")
    assert prediction.predicted_class in ("square", "disc", "cross")
    assert STATE.current == {}  # all from the copies
    with pytest.raises(InputError, match=r"'small-network' is a custom network, of small_network\.py"):
        chimeramix_jax.export(run, run / "model.zip")


def test_a_changed_file_is_not_taken_for_the_one_of_the_run(run, own_files, make_settings):
    file = own_files / "speckle.py"
    original = file.read_text()
    try:
        file.write_text(original.replace("STRENGTH = 0.1", "STRENGTH = 0.2"))
        with pytest.raises(
            InputError, match=r"speckle\.py, which has augmentation 'speckle', has changed .*/extensions has"
        ):
            chimeramix_jax.train_and_evaluate(make_settings(), run)
    finally:
        file.write_text(original)
    assert chimeramix_jax.train_and_evaluate(make_settings(), run)["experiment"] == "all_together"
