import pytest

from chimeramix_jax.reporting.shared_progress import SharedProgress


def test_seeds_share_one_line_with_their_mean_step_and_metrics(capsys):
    progress = SharedProgress()
    with progress.part("generator", 100, 0) as first, progress.part("generator", 100, 40) as second:
        first.update(50, loss=1.0)
        second.update(100, loss=3.0)
        first.update(100, loss=2.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0] == "generator, mean over seeds: compiling"
    assert lines[1].startswith("generator, mean over seeds: 100/100 steps (100%)") and lines[1].endswith("loss 2.5")


def test_a_metric_is_averaged_over_the_seeds_that_have_it(capsys):
    progress = SharedProgress()
    with progress.part("classifier", 10, 0) as first, progress.part("classifier", 10, 0) as second:
        first.update(10, loss=1.0, test_top1=0.5)
        second.update(5, loss=2.0)
    assert capsys.readouterr().err.splitlines()[-1].endswith(", loss 1.5, test_top1 0.5")


def test_each_stage_has_its_own_display_and_a_repeated_stage_a_new_one(capsys):
    progress = SharedProgress()
    for title in ("generator", "classifier", "generator"):
        with progress.part(title, 4, 0) as part:
            part.update(4)
    lines = capsys.readouterr().err.splitlines()
    finished = [line for line in lines if "4/4 steps" in line]
    assert [line.split(",")[0] for line in finished] == ["generator", "classifier", "generator"]


def test_a_seed_that_fails_closes_its_part(capsys):
    progress = SharedProgress()
    with pytest.raises(KeyboardInterrupt), progress.part("generator", 4, 0) as part:
        part.update(2)
        raise KeyboardInterrupt
    assert "2/4 steps" in capsys.readouterr().err
