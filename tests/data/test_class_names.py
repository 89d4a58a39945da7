import pytest

from chimeramix_jax.data.builders.class_names import alike, problem_with


@pytest.mark.parametrize(
    "names",
    [
        ("traffic light", "traffic-light", "traffic_light"),
        ("Car_1", "car-01"),
        ("1", "01", "1.0"),
        ("7.", "007"),
    ],
)
def test_names_that_may_mean_the_same_class_are_found(names):
    assert problem_with(names, "class folder") is None  # a run goes on
    assert alike(["another", *names, "one more"]) == [names]


@pytest.mark.parametrize(
    "names", [("1-1", "11"), ("1", "10", "100"), ("0", "00x"), ("v1.2", "v1.20", "v1.02"), ("cat", "cats"), ("-", "a")]
)
def test_different_names_are_not_said_to_be_alike(names):
    assert alike(names) == []


def test_every_group_of_names_is_found():
    assert alike(["a_b", "c-d", "a-b", "e", "c d", "a b"]) == [("a_b", "a-b", "a b"), ("c-d", "c d")]
