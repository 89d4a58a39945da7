import pytest

from chimeramix_jax.reporting.wording import counted


@pytest.mark.parametrize(("count", "words"), [(0, "0 new photos"), (1, "1 new photo"), (2, "2 new photos")])
def test_only_one_is_singular(count, words):
    assert counted(count, "new photo") == words
