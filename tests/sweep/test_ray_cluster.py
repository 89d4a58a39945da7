"""Tests of what a command does with Ray, with a Ray that never starts anything."""

import socket
from types import SimpleNamespace

import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.sweep import ray_cluster
from chimeramix_jax.sweep.processes import Task, last_error
from chimeramix_jax.sweep.ray_cluster import RayResources, RayWorker

ray = pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture
def submitted(monkeypatch, tmp_path):
    """Submits a task whose result is as given, an exception if it is one, None if there is none yet."""
    (tmp_path / "sweep").mkdir()
    monkeypatch.setattr(ray_cluster, "_SECONDS_UNTIL_VISIBLE", 0.0)
    results = []
    monkeypatch.setattr(ray, "wait", lambda references, timeout: (references if results else [], []))

    def get(_):
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]

    monkeypatch.setattr(ray, "get", get)

    def submit(result):
        if result is not None:
            results.append(result)
        remote = SimpleNamespace(remote=lambda request: request)
        worker = RayWorker(remote, tmp_path / "sweep", RayResources(None, None, None))
        return worker.start(Task(("--stage=all",), (tmp_path / "sweep" / "run",), "all"))

    return submit


def test_the_exit_code_of_a_run_is_that_of_its_task(submitted, tmp_path):
    task = submitted((3, 61.0))
    assert task.poll() == 3 and task.seconds == 61.0 and not task.has_started
    assert last_error(tmp_path / "sweep" / "run") is None  # that is left to the node


def test_a_task_that_waits_has_no_exit_code(submitted):
    task = submitted(None)
    assert task.poll() is None and task.last_line() == "waits for the cluster"


def test_a_cancelled_task_was_stopped(submitted):
    assert submitted(ray.exceptions.TaskCancelledError()).poll() == 143


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ray.exceptions.WorkerCrashedError(), "Ray gave up after 4 attempts: WorkerCrashedError: "),
        (ray.exceptions.RayTaskError("carry_out", "", InputError("/a: is not\na folder")), "/a: is not a folder"),
    ],
)
def test_an_error_of_the_cluster_is_a_failed_run_with_its_reason(submitted, tmp_path, error, told):
    assert submitted(error).poll() == 1
    assert str(last_error(tmp_path / "sweep" / "run")).startswith(told)


def test_a_run_is_done_only_when_its_files_can_be_read_here(submitted, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_SECONDS_UNTIL_VISIBLE", 60.0)
    task = submitted((0, 5.0))
    assert task.poll() is None
    (tmp_path / "sweep" / "run" / "results.json").write_text('{"test": {"top1": 0.5}}')
    assert task.poll() == 0


def test_a_run_whose_files_never_come_has_failed(submitted, tmp_path):
    assert submitted((0, 5.0)).poll() == 1
    assert "its files are not here" in str(last_error(tmp_path / "sweep" / "run"))


def test_runs_fit_by_whatever_is_scarcest():
    node = {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 20.0 * 2**30}}
    assert RayResources(None, None, None).fit(node) == 8
    assert RayResources(3, None, None).fit(node) == 2
    assert RayResources(None, 1, 16).fit(node) == 1
    assert RayResources(None, 4, None).fit(node) == 0
    assert RayResources(1, None, None).fit(node | {"Alive": False}) == 0
    resources = RayResources(None, 1, None), RayResources(None, None, None), RayResources(2, 1, None)
    assert tuple(each.cores for each in resources) == (
        None,
        1,
        2,
    )
    assert str(RayResources(None, 4, 16)) == "--ray_gpus=4 --ray_memory_gb=16"


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return port


def test_a_cluster_that_cannot_be_reached_is_refused_at_once(closed_port):
    with pytest.raises(InputError, match=rf"--ray_address=127.0.0.1:{closed_port}: no Ray cluster can be reached \(.*"):
        ray_cluster.require(f"127.0.0.1:{closed_port}")


@pytest.mark.parametrize("address", ["nonsense", "ray://there:10001", ":1", "there:", "there:port"])
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(InputError, match=r"is not allowed; it must be HOST:PORT"):
        ray_cluster.require(address)


def test_something_else_that_listens_is_no_cluster(monkeypatch):
    monkeypatch.setattr(ray_cluster, "SECONDS_TO_CONNECT", 5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=r"no Ray cluster can be reached \(no answer within 5 seconds\)"):
            ray_cluster.require(address)


def test_the_probe_gives_the_reason_in_one_line(monkeypatch):
    monkeypatch.setattr(
        ray_cluster, "_PROBE", "import sys; print('noise', file=sys.stderr); sys.exit('Version mismatch')"
    )
    with pytest.raises(
        InputError, match=r"--ray_address=auto: .*\(Version mismatch\); start one with ray start"
    ) as told:
        ray_cluster.require("auto")
    assert "\n" not in str(told.value)


def test_the_address_is_that_of_the_flag_or_of_the_variable(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert ray_cluster.address_of(None) == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "there:6379")
    assert ray_cluster.address_of(None) == "there:6379" and ray_cluster.address_of("local") == "local"


def test_a_missing_ray_is_one_line(monkeypatch):
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--launcher=ray: Ray is not installed; run .* -m pip install ray,"):
        ray_cluster.require("auto")
