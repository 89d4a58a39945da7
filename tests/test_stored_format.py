"""Files stored by earlier versions can be read; files of later versions are refused."""

import json
import shutil

import pytest
from conftest import FIXTURES, ROOT

import chimeramix_jax
from chimeramix_jax.config import from_json
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import FORMAT, marked, unmarked


@pytest.fixture(scope="module")
def stored_run(tmp_path_factory):
    """The directory of a run that an earlier version finished."""
    folder = tmp_path_factory.mktemp("stored")
    shutil.unpack_archive(FIXTURES / "run_format_1.zip", folder)
    return folder / "run"


@pytest.fixture
def copy(stored_run, tmp_path):
    return shutil.copytree(stored_run, tmp_path / "run")


def test_stored_objects_begin_with_the_format_version():
    assert list(marked({"seed": 3})) == ["format", "seed"]
    assert unmarked(marked({"seed": 3}), "here") == {"seed": 3} == unmarked({"seed": 3}, "here")


@pytest.mark.parametrize("version", [FORMAT + 1, -1, "1", None, True])
def test_an_unknown_format_version_is_refused(version):
    with pytest.raises(InputError, match=f"there: format {version!r} cannot be read .* reads formats up to {FORMAT}"):
        unmarked({"format": version}, "there")


def test_networks_of_a_stored_run_are_restored_and_predict(stored_run):
    assert chimeramix_jax.restore_classifier(stored_run) is not None
    assert chimeramix_jax.restore_generator(stored_run) is not None
    (prediction,) = chimeramix_jax.predict(stored_run, ROOT / "docs" / "mixing.png")
    assert sorted(prediction.classes)[0] >= "0" and sum(prediction.probabilities) <= 1 + 1e-6


def test_a_stored_run_is_evaluated_and_reported_again_without_its_config_file(copy, run_main, data_dir):
    before = json.loads((copy / "results.json").read_text())
    code, _, errors = run_main("--stage=evaluate", f"--workdir={copy}", **FROM_THE_RUN)
    assert code == 0, errors
    after = json.loads((copy / "results.json").read_text())
    assert after["test"]["examples"] == before["test"]["examples"] == 697
    assert after["test"]["top1"] == pytest.approx(before["test"]["top1"], abs=5e-3)
    assert (copy / "report.html").exists()


# The stored run's values of settings that ``run_main`` would otherwise override.
FROM_THE_RUN = {
    "classifier.epochs": 2,
    "generator.channels": 1,
    "generator.discriminator_channels": 1,
    "generator.epochs": 2,
    "generator.residual_blocks": 0,
}


def test_settings_results_and_checkpoints_of_a_later_version_are_refused_in_one_line(copy, run_main):
    config = copy / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"format": FORMAT + 1}))
    with pytest.raises(InputError, match=f"format {FORMAT + 1} cannot be read"):
        from_json(config.read_text())
    code, output, errors = run_main("--stage=predict", f"--workdir={copy}", "--images=docs/mixing.png")
    assert (code, output) == (2, "") and errors.count("\n") == 1 and "cannot be read by this version" in errors


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"format": 99, "class_names": []}', "format 99 cannot be read by this version"),
        ("[]", "it holds a list; it must hold a JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_a_data_identity_that_is_damaged_or_of_another_version_is_refused(copy, content, complaint):
    (copy / "data.json").write_text(content)
    with pytest.raises(InputError, match=complaint):
        Workdir(copy).read_data()
