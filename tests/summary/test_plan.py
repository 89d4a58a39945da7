import json

import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.summary.plan import PlannedRun, read_plan
from chimeramix_jax.summary.trials import Address

RUN = {"workdir": "a", "dataset": "digits", "experiment": "baseline", "max_labels_per_class": 5, "seed": 0}


def plan(folder, *runs):
    (folder / "sweep.json").write_text(json.dumps({"runs": runs, "written_by": "a sweep"}))
    return read_plan(folder)


def test_a_folder_without_a_plan_has_none(tmp_path):
    assert read_plan(tmp_path) is None


def test_planned_runs_have_addresses_and_folders(tmp_path):
    photos = RUN | {"dataset": "image_folder", "directory": "some/birds", "evaluate_on": "validation"}
    assert plan(tmp_path, RUN, photos | {"max_labels_per_class": None}) == [
        PlannedRun(tmp_path / "a", Address("digits", "test", "baseline", 5, 0)),
        PlannedRun(tmp_path / "a", Address("image_folder (birds)", "validation", "baseline", None, 0)),
    ]


@pytest.mark.parametrize(
    ("run", "named"),
    [
        (RUN | {"seed": -1}, r"runs\[1\].seed: -1; it must be a whole number"),
        (RUN | {"seed": "0"}, r"runs\[1\].seed: '0'"),
        (RUN | {"max_labels_per_class": 0}, "max_labels_per_class: 0"),
        (RUN | {"workdir": None}, "workdir: None"),
        ({key: RUN[key] for key in RUN if key != "experiment"}, "experiment: missing"),
        ([], r"runs\[1\]: a list is not allowed; it must be a JSON object"),
    ],
)
def test_an_invalid_run_is_rejected_by_number_and_key(tmp_path, run, named):
    with pytest.raises(InputError, match=named):
        plan(tmp_path, RUN, run)


@pytest.mark.parametrize("text", ["", "[]", '{"runs": 3}', "{"])
def test_a_plan_of_another_format_is_rejected(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(InputError, match=r"sweep\.json: cannot be read"):
        read_plan(tmp_path)
