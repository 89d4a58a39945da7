import jax
import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.training import execution


def test_a_batch_that_cannot_be_divided_evenly_stays_on_one_device_with_a_message(monkeypatch, capsys):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices() * 3)
    chosen = execution.for_one_run(8, devices=0, title="generator")
    assert isinstance(chosen, execution.OneDevice) and not isinstance(chosen, execution.SplitBatch)
    assert capsys.readouterr().err == "generator: uses one of 3 devices, because a batch of 8 does not divide evenly\n"


def test_one_of_several_devices_can_be_requested_without_a_message(monkeypatch, capsys):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices() * 4)
    assert not isinstance(execution.for_one_run(8, devices=1, title="generator"), execution.SplitBatch)
    assert capsys.readouterr().err == ""


def test_requested_devices_are_used_and_more_than_available_are_refused(monkeypatch):
    devices = jax.devices() * 3
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert execution.available_devices(0) == devices
    assert execution.available_devices(2) == devices[:2]
    with pytest.raises(InputError, match="devices: 4 requested, but JAX finds 3 here"):
        execution.available_devices(4)
