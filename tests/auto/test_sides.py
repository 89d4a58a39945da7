import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.auto import sides
from chimeramix_jax.auto.final_cost import evaluation_seconds
from chimeramix_jax.auto.halving import Cost, Schedule
from chimeramix_jax.errors import InputError

COST = Cost(compiling=10.0, setup=5.0, generator_epoch=0.0, classifier_epoch=2.0)
USUAL = Schedule(0, 128)


@pytest.mark.parametrize(
    ("of_photos", "seconds", "side"),
    [
        (160, 100, 32),
        (160, 15 + 128 * 2.0 * 1.5**2 - 1, 32),  # the usual epochs at 48 px, and a second less
        (160, 15 + 128 * 2.0 * 1.5**2 + 1, 48),
        (160, 15 + 128 * 2.0 * 2**2 + 1, 64),
        (160, 10_000, 96),
        (50, 10_000, 48),  # enlarging photos adds nothing
        (32, 10_000, 32),
        (20, 10_000, 32),
    ],
)
def test_the_side_grows_with_the_time_but_not_beyond_the_photos(of_photos, seconds, side):
    assert sides.chosen(32, (48, 64, 96), of_photos, seconds, COST, USUAL, measuring=0.0) == side


def test_classifying_the_test_images_takes_longer_at_a_larger_side_too():
    measuring = 4.0  # of the 5 seconds of set-up
    at_64 = sides.cost_at(COST, 32, 64, measuring)
    assert (at_64.setup, at_64.classifier_epoch, at_64.compiling) == (1 + 4 * 4.0, 8.0, 10.0)
    enough = 10 + 17 + 128 * 8.0
    for seconds, side in ((enough - 1, 32), (enough + 1, 64)):
        assert sides.chosen(32, (64,), 160, seconds, COST, USUAL, measuring) == side


def test_measuring_takes_as_long_as_there_are_images_and_views_of_each():
    # An epoch of 10 steps of 16 images takes 2 s, a forward pass of an image a third of 12.5 ms.
    assert evaluation_seconds(1000, 10, COST, steps=10, batch_size=16) == pytest.approx(1000 * 10 * 0.0125 / 3)


def test_at_another_side_everything_that_belongs_to_the_images_scales_and_nothing_else_changes():
    config = settings.load("image_folder:cutout")
    changed = sides.config_at(config, 64)
    assert (config.classifier.image_side, changed.augment.cutout_side) == (32, 16)
    keys = {line.partition(":")[0] for line in settings.differences(config, changed)}
    assert keys == {"augment.cutout_side", "classifier.image_side", "dataset.image_side"}
    settings.check(changed, environment=False)


@pytest.mark.parametrize("text", ["48,", "64,48", "48,48", "50", "2048", "x", "٤٨"])
def test_larger_sides_that_cannot_be_used_are_refused(text):
    config = settings.load("digits:auto")
    config.larger_sides = text
    with pytest.raises(
        InputError, match=r"^larger_sides: .* is not allowed; it must be growing sides of images, such as"
    ):
        settings.check(config)


def test_sides_below_the_usual_one_are_left_out():
    assert settings.parse_larger_sides("48, 64,96", 64) == (96,)
    assert settings.parse_larger_sides("", 64) == ()


@pytest.mark.parametrize(
    ("recipes", "experiment", "message"),
    [
        ("baseline,cutot", "auto", "recipes: 'cutot' is not known (did you mean 'cutout'?)"),
        ("baseline,baseline", "auto", "recipes: 'baseline,baseline' lists baseline twice"),
        ("baseline", "cutout", "recipes: 'baseline', but experiment 'cutout' is a recipe already"),
    ],
)
def test_recipes_that_cannot_be_compared_are_refused(recipes, experiment, message):
    config = settings.load(f"digits:{experiment}")
    config.recipes = recipes
    with pytest.raises(InputError) as caught:
        settings.check(config)
    assert message in str(caught.value)
