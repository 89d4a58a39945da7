import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.report import reliability


def measured(error, chance, confidence=0.8, accuracy=0.7):
    rows = [(0.5, 40, 0.6), (0.85, 60, 0.8)]
    bins = [
        {"low": mean - 0.05, "high": mean + 0.05, "images": images, "confidence": mean, "accuracy": right}
        | {"interval": [right - 0.1, right + 0.1]}
        for mean, images, right in rows
    ]
    return {"error": error, "error_by_chance": chance, "confidence": confidence, "accuracy": accuracy, "bins": bins}


def sentences(**about):
    calibration = {"images": 100, "temperature": None, "explanation": "Why not.", "rejection": []} | about
    content = reliability.content(calibration, "test", "results.json")
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in content.sentences]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (measured(0.1, 0.06), "is 10.0 %, more than the 6.0 % that chance explains: the model is too sure of itself."),
        (measured(0.1, 0.06, 0.6), "6.0 % that chance explains: the model is not sure enough of itself."),
        (
            measured(0.1, 0.06, 0.71),
            "the model is too sure of itself at some probabilities, and not sure enough at others.",
        ),
        (measured(0.1, 0.12), "up to 12.0 % for a perfectly calibrated model, so 100 test images are too few to tell."),
        (
            measured(0.02, 0.03),
            "is 2.0 %, no more than chance would give for a perfectly calibrated model (up to 3.0 %).",
        ),
    ],
)
def test_the_error_is_compared_with_what_chance_explains(before, said):
    first, _, error, reason = sentences(before=before)
    assert first.startswith(
        "When the model says 85 %, it is right 80 % of the time (60 images from 80 % to 90 %; 95 % "
    )
    assert error.startswith("The expected calibration error ") and error.endswith(said) and reason == "Why not."


@pytest.mark.parametrize(("right", "outcome"), [(1.0, "right"), (0.0, "wrong")])
def test_a_single_image_is_not_called_several(right, outcome):
    row = {"low": 0.53, "high": 0.53, "images": 1, "confidence": 0.53, "accuracy": right, "interval": [0.2, 1.0]}
    before = {"error": 0.47, "error_by_chance": 0.53, "confidence": 0.53, "accuracy": right, "bins": [row]}
    of_bin, of_all, of_error, _ = sentences(before=before, images=1)
    assert "(1 image at 53 %; 95 % interval" in of_bin
    assert of_all == f"Of the only test image, it says 53 % and is {outcome}."
    assert of_error.endswith("so 1 test image is too few to tell.")


def test_the_temperature_is_described_with_what_limits_it():
    about = {"temperature": 1.5, "fitted_on": "folds", "fitted_images": 90, "cross_fitted": True}
    *_, error, temperature = sentences(before=measured(0.2, 0.1), after=measured(0.03, 0.1), **about)
    assert "calibration error is 3.0 %" in error
    assert (
        "temperature of 1.50, which was fitted on 90 out-of-fold images and changes no predicted class" in temperature
    )
    assert "Without it, the calibration error is 20.0 %." in temperature
    assert "Each fifth of the images" in temperature and "models of the folds" in temperature


def test_points_lie_on_the_diagonal_if_the_model_is_as_right_as_it_says():
    before = measured(0.1, 0.1)
    for row in before["bins"]:
        row["accuracy"] = row["confidence"]
    content = reliability.content(
        {"images": 100, "temperature": None, "explanation": "", "rejection": [], "before": before}, "test", ""
    )
    ((small, large),) = [line.dots for line in content.lines]
    for dot in (small, large):
        assert dot.x - reliability.AREA.left == pytest.approx(reliability.AREA.bottom - dot.y, abs=0.11)
        assert dot.high < dot.y <= dot.low
    assert small.radius < large.radius
    assert reliability.AREA.right - reliability.AREA.left == reliability.AREA.bottom - reliability.AREA.top


def test_results_that_lack_something_are_named():
    with pytest.raises(InputError, match=r"results\.json: cannot be read: KeyError: 'images'"):
        reliability.content({"before": measured(0.1, 0.1), "temperature": None}, "test", "results.json")
