import pytest

from chimeramix_jax import hosts
from chimeramix_jax.errors import InputError


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ("here", "HOST:PORT,INDEX,COUNT"),
        ("host,0,2", "HOST:PORT,INDEX,COUNT"),
        ("host:1234,0", "HOST:PORT,INDEX,COUNT"),
        ("host:1234,-1,2", "HOST:PORT,INDEX,COUNT"),
        ("host:1234,2,2", "index 2 of 2 processes; it must be 0 to 1"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_before_anyone_is_called(where, part):
    with pytest.raises(InputError, match=f"--distributed={where}: .*{part}"):
        hosts.connect(where)


def test_a_process_of_its_own_neither_waits_nor_asks():
    assert hosts.is_first()
    assert hosts.gathered({"seed": 1}, "alone") == [{"seed": 1}]
    with hosts.first_process_first():
        hosts.wait_for_all("alone")
