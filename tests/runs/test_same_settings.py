"""Trainings that are continued where the precision "auto" means something else; checkpoints are made up."""

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import same_settings
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import backend
from chimeramix_jax.training import checkpoints


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Checks on a GPU whether a run whose classifier was trained for some epochs can be continued."""
    monkeypatch.setattr(backend, "on_accelerator", lambda: True)
    workdir = Workdir(tmp_path / "run")

    def checked(requested, recorded, epoch=3, stage="all", replaced=()):
        config = settings.load("digits:baseline")
        about = {"config": settings.config_to_dict(config), "epoch": epoch, **recorded}
        monkeypatch.setattr(checkpoints, "newest", {workdir.classifier: about}.get)
        workdir.path.mkdir(exist_ok=True)
        workdir.claim(config)
        config.precision = requested
        workdir.check(same_settings.as_begun(workdir, config))
        same_settings.refuse_other_settings(workdir, config, [workdir.path / part for part in replaced], stage)

    return checked


ON_A_CPU = {"precision": "float32"}


@pytest.mark.parametrize("stage", ["all", "classifier"])
def test_a_run_that_a_cpu_has_begun_is_not_continued_in_another_precision_on_a_gpu(check, stage):
    with pytest.raises(InputError) as refused:
        check("auto", ON_A_CPU, stage=stage)
    assert str(refused.value).endswith(
        "classifier/ was trained in float32, but precision 'auto' means bfloat16 here; continue with "
        "--config.precision=float32, or on a machine where it means that"
    )


def test_it_is_continued_in_its_precision_and_only_in_that(check):
    check("float32", ON_A_CPU)
    for other in ("bfloat16", "tensorfloat32"):
        with pytest.raises(InputError, match=f"precision: 'auto' stored, '{other}' requested"):
            check(other, ON_A_CPU)


def test_what_is_finished_trained_anew_or_of_an_earlier_version_is_as_before(check):
    check("auto", ON_A_CPU, epoch=10_000)
    check("auto", ON_A_CPU, stage="evaluate")
    check("auto", ON_A_CPU, replaced=["classifier"])
    check("auto", {})
