import importlib.util
import io

import numpy as np
import pytest
from PIL import Image
from summary.made_trials import made_trial

from chimeramix_jax.errors import InputError
from chimeramix_jax.summary import curves
from chimeramix_jax.summary.comparison import summarize


def summary_of(*trials):
    return summarize(trials, [], None, "top1")


def lines(panel):
    """Returns the positions, means and error bars of each experiment in a panel."""
    found = {}
    for container in panel.containers:
        (points, _, (bars,)) = container
        reach = [(segment[1][1] - segment[0][1]) / 2 for segment in bars.get_segments()]
        found[container.get_label()] = (points.get_xdata(), points.get_ydata(), reach)
    return found


def test_each_data_set_has_a_row_of_panels_with_means_and_intervals():
    trials = [
        made_trial(0.5 + images / 1000 + seed / 50 + gain, seed, experiment, images, dataset)
        for dataset in ("digits", "cifair10")
        for experiment, gain in (("baseline", 0.0), ("mix", 0.1))
        for images in (5, 10, 50)
        for seed in (0, 1)
    ]
    summary = summary_of(*trials)
    figure = curves.draw(summary)
    assert [panel.get_title() for panel in figure.axes] == [
        "cifair10, test images", "cifair10, test images", "digits, test images", "digits, test images"
    ]  # fmt: skip
    accuracy, difference = figure.axes[:2]
    assert [label.get_text() for label in accuracy.get_xticklabels()] == ["5", "10", "50"]
    assert accuracy.get_xscale() == "log" and list(accuracy.get_xticks()) == [5, 10, 50]
    positions, means, reach = lines(accuracy)["mix"]
    assert positions == pytest.approx([5, 10, 50], rel=0.1) and means == pytest.approx([61.5, 62, 66])
    estimate = next(row for row in summary.sections[0].rows if row.experiment == "mix").accuracy
    assert reach[0] == pytest.approx(100 * (estimate.interval[1] - estimate.mean))
    assert set(lines(difference)) == {"mix"} and lines(difference)["mix"][1] == pytest.approx([10, 10, 10])


def test_all_images_are_placed_at_their_mean_number():
    panel = curves.draw(summary_of(made_trial(0.5, images=5), made_trial(0.6, images=None))).axes[0]
    assert dict(zip([label.get_text() for label in panel.get_xticklabels()], panel.get_xticks(), strict=True)) == {
        "5": 5, "all": 110
    }  # fmt: skip


def test_a_single_seed_has_a_point_without_a_bar():
    ((points, caps, (bars,)),) = curves.draw(summary_of(made_trial(0.5))).axes[0].containers
    assert list(points.get_ydata()) == [50]
    assert all(np.isnan(np.asarray(cap.get_ydata(), float)).all() for cap in caps)
    assert all(len(segment) == 0 for segment in bars.get_segments())


def test_names_are_drawn_literally():
    figure = curves.draw(summary_of(made_trial(0.5, dataset="image_folder ($a_{b$)")))
    assert b"image_folder ($a_{b$), test images</text>" in curves.svg(figure)


def test_without_a_baseline_there_is_no_panel_of_differences():
    assert len(curves.draw(summary_of(made_trial(0.5, experiment="mix"))).axes) == 1


def test_without_finished_runs_there_is_no_figure():
    assert curves.draw(summary_of(made_trial(None))) is None


def test_every_experiment_has_its_own_style():
    styles = curves._styles(summary_of(*(made_trial(0.5, experiment=f"x{n}") for n in range(14))).sections, "baseline")
    assert len(set(styles.values())) == len(styles) == 14


def test_the_figure_is_saved_as_png_and_as_reproducible_svg():
    summary = summary_of(made_trial(0.5), made_trial(0.75, experiment="mix"))
    figure = curves.draw(summary)
    picture = Image.open(io.BytesIO(curves.png(figure)))
    assert picture.size[0] == 2 * curves.PANEL_WIDTH * curves.PIXELS_PER_INCH
    assert (0, 114, 178) in {colour for _, colour in picture.convert("RGB").getcolors(2**20)}  # a line of "mix"
    assert curves.svg(figure) == curves.svg(curves.draw(summary))
    assert b">mix</text>" in curves.svg(figure)


def test_a_missing_matplotlib_is_reported_in_one_line(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "matplotlib" else find(name))
    with pytest.raises(InputError, match=r"pip install matplotlib.*--nocurves"):
        curves.require_matplotlib()


def test_axes_zoom_to_the_means_and_cut_long_bars():
    trials = [made_trial(accuracy, seed) for seed, accuracy in enumerate((0.5, 0.6))]
    trials += [made_trial(accuracy, seed, "mix") for seed, accuracy in enumerate((0.58, 0.64))]
    panel = curves.draw(summary_of(*trials)).axes[0]
    (low, high), (_, _, (reach,)) = panel.get_ylim(), lines(panel)["baseline"]
    assert reach > 40  # two seeds say next to nothing about the mean, so their bar leaves the panel
    assert 50 < low < 55 and 61 < high < 66


def test_short_bars_are_shown_whole():
    trials = [
        made_trial(0.6 + seed / 1000 + gain, seed, name) for seed in range(9) for name, gain in (("a", 0), ("b", 0.1))
    ]
    summary = summary_of(*trials)
    low, high = curves.draw(summary).axes[0].get_ylim()
    for row in summary.sections[0].rows:
        assert low < 100 * row.accuracy.interval[0] and 100 * row.accuracy.interval[1] < high
