import dataclasses
import json
from types import SimpleNamespace

import jax
import pytest

from benchmarks import speed
from benchmarks.presets import PRESETS, Preset, Request
from benchmarks.speed_ours import Ours
from chimeramix_jax.training.epochs import shared_key

PRESET = PRESETS["generator", "small"]


def side(name, seconds, device="cpu", precision="float32"):
    about = {"device": device, "precision": precision, "steps": 2, "versions": {name: "1.0", "python": "3.11"}}
    afterwards = {"xla_flops": None, "peak_bytes": 2**30}
    return SimpleNamespace(name=name, seconds=seconds, first_round=9.0, about=about, afterwards=afterwards)


def test_sides_are_compared_round_by_round():
    ours, lean = side("ours", [1.0, 10.0, 2.0]), side("lean", [3.0, 20.0, 8.0])
    figures = speed.figures_of(lean, ours, PRESET)
    assert figures["time_over_ours"] == 3  # the median of 3, 2 and 4; of the medians it would be 4
    assert figures["ms_per_iteration"] == 4000
    assert figures["images_per_second"] == pytest.approx(PRESET.batch_size * 2 / 8)
    assert figures["seconds_to_start"] == 1
    assert speed.figures_of(ours, ours, PRESET)["time_over_ours"] == 1


def test_a_classifiers_rounds_mix_whole_iterations():
    coin = PRESETS["classifier", "small"]
    assert [Request(coin).mixed_steps(steps) for steps in (2, 6)] == [1, 3]
    assert Request(dataclasses.replace(coin, mixing_probability=1.0)).mixed_steps(3) == 3
    assert Request(dataclasses.replace(coin, mixing_probability=0.7)).mixed_steps(10) == 7
    with pytest.raises(RuntimeError, match="50% of 3 iterations is not a whole number"):
        Request(coin).mixed_steps(3)
    Request(PRESET).mixed_steps(1)  # a generator's are all alike


def test_the_next_epoch_of_our_side_mixes_its_share_and_is_found_before_the_round():
    ours = Ours(Request(PRESETS["classifier", "tiny"], "cpu", steps=2))
    epochs = []
    for _ in range(3):
        ours.prepare()
        epochs.append(ours._epoch)
        mixed = [bool(ours._stage.batches.is_mixed(shared_key(epochs[-1], step))) for step in range(ours.steps)]
        assert sum(mixed) == 1
    assert epochs == sorted({*epochs})
    assert steps_done(ours) == {0}
    ours.round()
    assert steps_done(ours) == {ours.steps} and ours._epoch == epochs[-1]


def steps_done(ours):
    """The numbers that the optimizer counts."""
    return {int(leaf) for leaf in jax.tree.leaves(ours._state["optimizer"]) if leaf.ndim == 0}


def test_table_has_a_column_for_each_side_and_dashes_for_the_unknown():
    ours = side("ours", [1.0])
    lines = speed.table({"ours": speed.figures_of(ours, ours, PRESET)}).splitlines()
    assert lines[0].split() == ["chimeramix_jax"]
    assert {line.split()[-1] for line in lines if line.startswith(("share", "XLA"))} == {"-"}


def test_share_of_the_peak_stands_where_the_device_is_known():
    ours = side("ours", [1e-2], "NVIDIA H100 80GB HBM3", "bfloat16")
    figures = speed.figures_of(ours, ours, PRESET)
    assert figures["share_of_peak"] == pytest.approx(figures["needed_flops"] * 2 / 1e-2 / 989e12)


def test_another_checkout_gets_only_the_sizes_that_differ_from_the_defaults():
    preset = dataclasses.replace(PRESETS["classifier", "small"], growing_sides=((16, 0.5),))
    request = Request(preset, device="cpu")
    changed = json.loads(json.dumps(request.changed()))
    assert changed.keys() == {"preset", "device"}
    assert "early" not in changed["preset"] and changed["preset"]["growing_sides"] == [[16, 0.5]]
    assert Request(Preset(**request.changed()["preset"]), device=changed["device"]) == request


def test_the_other_checkout_has_to_be_one(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["speed", "--stage=generator", f"--against={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        speed.parse_arguments()
    assert caught.value.code == 2 and "is not a checkout of this repository" in capsys.readouterr().err
