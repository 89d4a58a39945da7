"""Sweeps and searches on a real Ray: nodes and commands that are killed while runs are in progress, and stops.

The runs only count (``counting_run.py``); locks, logs and processes are real. Takes minutes, so it runs only when asked
for: ``python -m pytest -n0 -s -m slow tests/reliability/test_ray.py``
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from data.gem_files import write_gem
from reliability.ray_nodes import cluster, command_of, descendants

pytest.importorskip("ray", reason="Ray is not installed")

pytestmark = [
    pytest.mark.slow,
    # Tests before these may have used JAX in this process; Ray's processes begin with a program of their own.
    pytest.mark.filterwarnings("ignore:os.fork\\(\\) was called:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def nodes():
    with cluster(2) as running:
        yield running


@pytest.fixture
def start(checkout, data_dir, tmp_path, request, start_process):
    """Starts a subcommand; it is killed with the test."""

    def command(subcommand, *arguments, count_to=30, at=None, at_folder=None, name="folder", **variables):
        at = at or request.getfixturevalue("nodes")
        environment = os.environ | at.variables | {"COUNT_TO": str(count_to)} | variables
        line = [sys.executable, "-W", "error", str(checkout / "program.py"), *subcommand.split(), "--launcher=ray"]
        line += [f"--ray_address={at.address}", f"--workdir={tmp_path / name}"]
        line += [f"--config.dataset.data_dir={data_dir}", *arguments]
        return start_process(line, at_folder or checkout, environment)

    return command


SWEEP = ("sweep", "--datasets=digits", "--max_labels_per_class=2")


def ended(process):
    output, errors = process.communicate(timeout=240)
    return process.returncode, output, errors


def wait_until(holds, seconds=120):
    until = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.1)
    return result


def count(folder):
    """The counts of all runs, by directory and stage."""
    return {f"{path.parent.name}/{path.stem}": int(path.read_text()) for path in folder.glob("*/*.count")}


def processes_in(folder):
    """The processes that count in a folder."""
    return [
        process
        for process in descendants(1)
        if f"--workdir={folder}".encode() in command_of(process) and b"--stage=" in command_of(process)
    ]


def starts(run):
    """Where each attempt of a run started to count."""
    return [int(number) for number in re.findall(r"starts at (\d+)", (run / "log.txt").read_text())]


def test_runs_of_a_node_that_dies_continue_on_another_and_the_sweep_finishes(start, nodes, tmp_path):
    folder = tmp_path / "folder"
    sweep = start(*SWEEP, "--experiments=chimeramix_grid,baseline", count_to=100)
    wait_until(lambda: len(count(folder)) == 2 and min(count(folder).values()) > 10)
    (process, *_) = processes_in(folder)
    run = next(
        path for path in folder.glob("digits*") if f"/{path.name} ".encode() in command_of(process).replace(b"\0", b" ")
    )
    nodes.kill(nodes.node_of(process))
    wait_until(lambda: not Path(f"/proc/{process}").exists(), 10)  # the run ends with its node
    code, output, errors = ended(sweep)
    assert (code, re.sub(r"\[.*\n", "", errors)) == (0, ""), errors
    assert len(list(folder.glob("*/results.json"))) == 2 and not list(folder.glob("*/error.txt"))
    assert count(folder) and set(count(folder).values()) == {100}
    first, second = starts(run)[:2]
    assert first == 0 and second > 10
    assert "Summarize the runs" in output and "(raylet)" not in output
    nodes.start()


def test_a_classifier_waits_for_its_generator_and_a_failure_is_not_repeated(start, tmp_path):
    folder = tmp_path / "folder"
    code, output, errors = ended(start(*SWEEP, "--experiments=chimeramix_grid,baseline", count_to=3, FAILING="grid"))
    assert code == 1 and "failed: chimeramix: no" in errors and "(1 run waits for it)" in output
    (mixed,) = folder.glob("*grid*")
    assert (mixed / "log.txt").read_text() == "chimeramix: no\n"  # a single attempt
    code, output, _ = ended(start(*SWEEP, "--experiments=chimeramix_grid,baseline", "--retry", count_to=3))
    assert code == 0 and starts(mixed) == [0, 0]
    assert re.findall(r"(\w+): process", (mixed / "log.txt").read_text()) == ["generator", "classifier"]
    assert "CUDA=\n" in (mixed / "log.txt").read_text()  # no GPU was requested


def test_a_sweep_that_is_stopped_stops_its_runs_and_one_that_is_killed_ends_them(start, tmp_path):
    folder = tmp_path / "folder"
    three = (*SWEEP, "--experiments=baseline", "--seeds=0:3")
    sweep = start(*three, count_to=60)
    wait_until(lambda: len(count(folder)) == 2 and min(count(folder).values()) > 5)
    sweep.send_signal(signal.SIGTERM)
    code, _, errors = ended(sweep)
    assert code == 143 and errors.count("stopped; the same command continues it") == 2  # and not of what waited
    assert not processes_in(folder) and not list(folder.glob("*/lock.json"))
    logs = [path.read_text() for path in folder.glob("*/log.txt")]
    assert len(logs) == 2 and all("stopped (SIGTERM)" in log for log in logs)
    reached = count(folder)

    sweep = start(*three, count_to=60)
    wait_until(lambda: sum(count(folder).values()) > sum(reached.values()) + 10)
    sweep.kill()
    wait_until(lambda: not processes_in(folder))
    assert list(folder.glob("*/lock.json"))  # killed, so that locks are left behind
    code, _, errors = ended(start(*three, count_to=60))
    assert code == 0, errors
    assert len(list(folder.glob("*/results.json"))) == 3
    assert all(starts(path.parent)[0] == 0 and 0 not in starts(path.parent)[1:] for path in folder.glob("*/log.txt"))


def test_a_worker_process_that_is_killed_takes_its_run_with_it_and_the_run_continues(start, tmp_path):
    folder = tmp_path / "folder"
    sweep = start(*SWEEP, "--experiments=baseline", count_to=60)
    wait_until(lambda: count(folder) and min(count(folder).values()) > 5)
    (process,) = processes_in(folder)
    worker = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGKILL)
    code, _, errors = ended(sweep)
    (run,) = folder.glob("digits*")
    assert code == 0 and len(starts(run)) == 2 and starts(run)[1] > 5, errors


def test_a_search_runs_its_trials_in_the_cluster(start, tmp_path):
    folder = tmp_path / "folder"
    arguments = ["--config=digits:baseline", "--trials=4", "--search=classifier.learning_rate=0.01:0.9:log"]
    search = start("tune", *arguments, count_to=3000)  # which no trial reaches before it is stopped
    wait_until(lambda: len(list(folder.glob("trials/*/all.count"))) == 2)  # as many at once as the cluster has CPUs
    assert len(processes_in(folder)) <= 2
    search.send_signal(signal.SIGINT)
    assert ended(search)[0] == 130
    code, output, errors = ended(start("tune", *arguments, count_to=20))
    assert code == 0 and "trials: 4 done" in output, errors
    assert len(list(folder.glob("ray/trials/*.json"))) == 4
    assert json.loads((folder / "trials" / "0" / "results.json").read_text())["validation"]["top1"] == 0.5


def test_a_published_table_is_filled_in_the_cluster(start, tmp_path):
    lists = write_gem(tmp_path / "cub", "cub", divisions=(0, 1))
    arguments = ["--datasets=cub", "--experiments=baseline", "--seeds=0", "--divisions=0,1"]
    arguments += [f"--config.dataset.directory={lists}", "--config.dataset.image_side=8"]
    code, output, errors = ended(start("reproduce gem", *arguments, count_to=3))
    assert code == 0, errors
    row = next(line for line in output.splitlines() if line.startswith("| Cross-entropy"))
    assert [cell.strip() for cell in row.split("|")[4:7]] == ["baseline (A)", "2", "50.00"], row
    assert (tmp_path / "folder" / "reproduce-gem.html").exists()


def test_ideas_from_a_file_are_trained_and_tuned_in_the_cluster_unless_the_file_changes(start, idea, tmp_path):
    folder, content = tmp_path / "folder", idea.read_text()
    arguments = ("sweep", "--datasets=mine.py", "--experiments=mine", "--max_labels_per_class=2", "--seeds=0:3")
    sweep = start(*arguments, count_to=20, at_folder=idea.parent)
    wait_until(lambda: len(count(folder)) == 2)
    idea.write_text(content.replace("jnp.sum", "jnp.mean"))
    code, _, errors = ended(sweep)
    (refused,) = folder.glob("*/error.txt")
    assert code == 1 and errors.count("failed: ") == 1 and len(list(folder.glob("*/results.json"))) == 2, errors
    assert re.fullmatch(r"chimeramix: classifier\.loss_code: .*mine\.py has changed: .*\n", refused.read_text())
    idea.write_text(content)
    code, _, errors = ended(start(*arguments, "--retry", count_to=3, at_folder=idea.parent))
    assert code == 0 and len(list(folder.glob("*/results.json"))) == 3, errors

    search = ["--config=mine.py:mine", "--trials=2", "--search=classifier.learning_rate=0.01:0.9:log"]
    code, output, errors = ended(start("tune", *search, count_to=3, at_folder=idea.parent, name="search"))
    assert code == 0 and "trials: 2 done" in output, errors


def test_a_cluster_whose_first_node_dies_ends_the_command_and_its_runs(start, tmp_path):
    folder = tmp_path / "folder"
    with cluster(1) as nodes:
        sweep = start(*SWEEP, "--experiments=baseline", count_to=3000, at=nodes)
        wait_until(lambda: count(folder) and min(count(folder).values()) > 5)
        nodes.kill(0)
        assert ended(sweep)[0] != 0
        wait_until(lambda: not processes_in(folder))
    with cluster(1) as nodes:
        reached = min(count(folder).values())
        code, _, errors = ended(start(*SWEEP, "--experiments=baseline", count_to=reached + 5, at=nodes))
    (run,) = folder.glob("digits*")
    assert code == 0 and starts(run) == [0, reached], errors
