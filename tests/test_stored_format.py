"""Files stored by earlier versions can be read; files of later versions are refused."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import FIXTURES
from flax import nnx

import chimeramix_jax
from chimeramix_jax.config import from_json
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.mixing.blending import mixed_images
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import FORMAT, marked, unmarked


@pytest.fixture(scope="module")
def stored_run(tmp_path_factory):
    """The directory of a run that an earlier version finished."""
    folder = tmp_path_factory.mktemp("stored")
    shutil.unpack_archive(FIXTURES / "run_format_1.zip", folder)
    return folder / "run"


@pytest.fixture(scope="module")
def stored_model():
    """The model file of the same run, written before model files had digests of the training images."""
    return FIXTURES / "model_format_1.zip"


@pytest.fixture
def copy(stored_run, tmp_path):
    return shutil.copytree(stored_run, tmp_path / "run")


def test_stored_objects_begin_with_the_format_version():
    assert list(marked({"seed": 3})) == ["format", "seed"]
    for stored in ({"seed": 3}, marked({"seed": 3}), marked({"seed": 3}, FORMAT)):
        assert unmarked(stored, "here") == {"seed": 3}


@pytest.mark.parametrize("version", [FORMAT + 1, -1, "1", None, True])
def test_an_unknown_format_version_is_refused(version):
    with pytest.raises(InputError, match=f"there: format {version!r} cannot be read .* reads formats up to {FORMAT}"):
        unmarked({"format": version}, "there")


# What the run said of images of noise, and what its generator made of them, on 2026-11-30. Rounding differs between
# machines from the sixth decimal on.
PROBABILITIES = (
    (
        "0439187265",
        (0.11242, 0.11035, 0.10559, 0.10190, 0.10014, 0.09715, 0.09590, 0.09311, 0.09248, 0.09097),
    ),
    (
        "0742193865",
        (0.12486, 0.10385, 0.10234, 0.09938, 0.09928, 0.09895, 0.09665, 0.09599, 0.09295, 0.08574),
    ),
    (
        "0983417526",
        (0.10776, 0.10386, 0.10221, 0.10111, 0.09995, 0.09901, 0.09897, 0.09713, 0.09697, 0.09303),
    ),
)
MIXED_MEANS, MIXED_DEVIATION = (-0.1625603, 0.1664730, 0.0582171), 0.3287563


@pytest.mark.parametrize("source", ["stored_run", "stored_model"])
def test_the_classifier_of_a_stored_run_predicts_what_it_predicted_then(source, request):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    predictions = chimeramix_jax.predict(request.getfixturevalue(source), images)
    for prediction, (classes, probabilities) in zip(predictions, PROBABILITIES, strict=True):
        now = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        assert now == pytest.approx(dict(zip(classes, probabilities, strict=True)), abs=2e-5)


def test_whether_an_image_was_trained_on_is_known_for_a_stored_run_and_not_for_its_old_model_file(
    stored_run, stored_model, tmp_path, data_dir
):
    config = from_json((stored_run / "config.json").read_text())
    config.dataset.data_dir = str(data_dir)
    data = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
    images = [data.train.images[0], data.held_out.images[0]]
    again = chimeramix_jax.export(stored_model, tmp_path / "again.zip").path
    new = chimeramix_jax.export(stored_run, tmp_path / "new.zip").path
    known = {source: [row.trained_on for row in chimeramix_jax.predict(source, images)] for source in (stored_run, new)}
    assert known == {stored_run: [True, False], new: [True, False]}
    for old in (stored_model, again):
        assert [row.trained_on for row in chimeramix_jax.predict(old, images)] == [None, None]


def test_the_generator_of_a_stored_run_mixes_as_it_mixed_then(stored_run):
    generator = chimeramix_jax.restore_generator(stored_run)
    a, b = np.random.default_rng(1).uniform(-1, 1, (2, 1, 32, 32, 3)).astype(np.float32)
    mixed = np.asarray(nnx.jit(mixed_images)(generator, jnp.asarray(a), jnp.asarray(b), jnp.ones((1, 8, 8, 1))))
    np.testing.assert_allclose(mixed.mean((0, 1, 2)), MIXED_MEANS, atol=2e-5)
    assert mixed.std() == pytest.approx(MIXED_DEVIATION, abs=2e-5)


def test_a_stored_run_is_evaluated_and_reported_again_without_its_config_file(copy, run_here):
    before = json.loads((copy / "results.json").read_text())
    code, _, errors = run_here("--stage=evaluate", f"--workdir={copy}", **FROM_THE_RUN)
    assert code == 0, errors
    after = json.loads((copy / "results.json").read_text())
    assert after["test"]["examples"] == before["test"]["examples"] == 697
    assert after["test"]["top1"] == pytest.approx(before["test"]["top1"], abs=5e-3)
    assert (copy / "report.html").exists()


# The stored run's values of settings that ``run_here`` would otherwise override.
FROM_THE_RUN = {
    "classifier.epochs": 2,
    "generator.channels": 1,
    "generator.discriminator_channels": 1,
    "generator.epochs": 2,
    "generator.residual_blocks": 0,
}


def test_settings_results_and_checkpoints_of_a_later_version_are_refused_in_one_line(copy, run_here):
    config = copy / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"format": FORMAT + 1}))
    with pytest.raises(InputError, match=f"format {FORMAT + 1} cannot be read"):
        from_json(config.read_text())
    code, output, errors = run_here("--stage=predict", f"--workdir={copy}", "--images=docs/mixing.png")
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
