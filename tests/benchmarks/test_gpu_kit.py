"""The kit for GPUs: its runner with items that fail, hang or do not fit, what it leaves, and rehearsals."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from benchmarks.gpu import __main__ as kit
from benchmarks.gpu import archive, machine, plan, report, wheels
from benchmarks.gpu.items import CUT_OFF, DIFFERS, FAILED, LEFT_OUT, PASSED, Item, row, within
from benchmarks.gpu.runner import Circumstances, Runner
from chimeramix_jax import config as settings
from chimeramix_jax.config.experiments import EXPERIMENTS


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Works through items whose functions are in a module of this test's; returns the records, and all that were."""
    functions = """
import os, time
from benchmarks.gpu.items import row

def good(context):
    return {"rows": [row("answer", str(context.arguments["answer"]))], "data": os.getpid()}

def bad(context):
    return {"rows": [row("answer", "41", "42", good=False)]}

def broken(context):
    context.report({"rows": [row("so far", "1")]})
    raise ValueError("no\\nluck")

def dead(context):
    os._exit(7)

def endless(context):
    context.report({"rows": [row("so far", "2")]})
    time.sleep(600)

def processes(context):
    listed, of_the_kit = [], []
    for thread in os.listdir(f"/proc/{os.getppid()}/task"):
        with open(f"/proc/{os.getppid()}/task/{thread}/children") as children:
            listed += [int(number) for number in children.read().split()]
    for number in listed:
        with open(f"/proc/{number}/cmdline") as command:
            of_the_kit += [number] if "benchmarks.gpu.worker" in command.read() else []
    return {"rows": [row("own", str(os.getpid()))], "data": of_the_kit}

def loud(context):
    print("not an answer", flush=True)
    os.system("echo not one either")
    return {"rows": [row("told", os.environ["TOLD"])]}

def times(context):
    started, meets = time.time(), context.arguments.get("meets", [])
    context.output.joinpath(context.work.name).touch()
    while not all(context.output.joinpath(name).exists() for name in meets):
        assert time.time() < started + 60, "the other one does not begin"
        time.sleep(0.02)
    time.sleep(0.1)
    return {"rows": [row("took", "0.1 s")], "data": [started, time.time()]}
"""
    folder = tmp_path / "modules" / "stand_ins"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(functions)
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))

    def work(*items, seconds=60.0, jobs=1):
        seen = []
        circumstances = Circumstances(True, str(tmp_path / "work"), str(tmp_path), None, None)
        runner = Runner(
            items,
            circumstances,
            time.time() + seconds,
            jobs,
            tmp_path / "log",
            lambda told: seen.append(json.dumps(told)),
        )
        runner.run()
        return runner.records, seen

    return work


def stand_in(name, seconds=1.0, **others):
    """An item of the stand-ins' module."""
    return Item(name, f"stand_ins:{name.split()[0]}", seconds, **others)


def test_an_item_that_fails_is_reported_and_the_next_one_is_done(run):
    broken, dead, bad, good = run(
        *map(stand_in, ("broken", "dead", "bad")), stand_in("good", arguments={"answer": 42})
    )[0]
    assert (broken["status"], broken["error"]) == (FAILED, "ValueError: no luck")
    assert "raise ValueError" in broken["traceback"]
    assert broken["rows"][0]["value"] == "1"  # what was known by then
    assert (dead["status"], dead["error"]) == (FAILED, "its process ended with exit code 7")
    assert bad["status"] == DIFFERS
    assert good["status"] == PASSED
    assert good["rows"] == [row("answer", "42")]


def test_what_takes_too_long_is_cut_off_with_what_it_knew_and_what_does_not_fit_is_left_out(run):
    endless, late = run(stand_in("endless"), stand_in("good late", 100.0), seconds=4)[0]
    assert (endless["status"], endless["rows"][0]["value"]) == (CUT_OFF, "2")
    assert late["status"] == LEFT_OUT
    assert late["error"].startswith("takes about ")


def test_records_are_handed_on_after_every_item(run):
    _, seen = run(*map(stand_in, ("bad", "broken")))
    statuses = [[record["status"] for record in json.loads(told)] for told in seen]
    assert statuses == [[CUT_OFF, LEFT_OUT], [DIFFERS, LEFT_OUT], [DIFFERS, CUT_OFF], [DIFFERS, FAILED]]


def test_what_is_printed_is_no_answer_and_processes_have_the_environment_of_their_items(run):
    items = [stand_in(f"loud {told}", environment={"TOLD": told}) for told in ("one", "other")]
    assert [record["rows"][0]["value"] for record in run(*items)[0]] == ["one", "other"]


def test_items_that_are_to_be_alone_are(run):
    both = {"meets": ["times_0", "times_1"]}  # each waits until the other has begun
    items = [stand_in("times 0", arguments=both), stand_in("times 1", arguments=both)]
    items += [stand_in("times 2", alone=True), stand_in("times 3")]
    records = run(*items, jobs=2)[0]
    assert [record["status"] for record in records] == [PASSED] * 4
    spans = [record["data"] for record in records]
    assert max(spans[0][1], spans[1][1]) <= spans[2][0]
    assert spans[2][1] <= spans[3][0]


def test_items_that_are_to_be_alone_share_a_process_and_there_is_no_other_one(run):
    both = {"meets": ["times_0", "times_1"]}
    items = [stand_in("times 0", arguments=both), stand_in("times 1", arguments=both)]
    items += [stand_in(f"processes {number}", alone=True) for number in range(3)]
    items += [stand_in("processes other", alone=True, environment={"TOLD": "other"})]
    *_, first, second, third, other = (record["data"] for record in run(*items, jobs=2)[0])
    assert first == second == third == [first[0]] and other == [other[0]] and other != first


def test_the_seeds_that_train_needs_fit_into_the_time_of_speed(tmp_path):
    items = plan.items("speed", work=tmp_path)
    names = [item.name for item in items]
    assert names[2:4] == ["seeds generator", "seeds classifier"]
    assert sum(item.seconds for item in items[:4]) < 9 * 60 - kit.SECONDS_TO_END
    uncached = {item.name for item in items if item.environment.get("JAX_ENABLE_COMPILATION_CACHE") == "false"}
    assert uncached == {"program generator", "program classifier"}


def test_the_checkout_is_counted_without_what_is_counted_by_itself():
    everything = wheels.checkout()
    assert ROOT / "README.md" in everything and ROOT / "docs" / "gpu.md" in everything
    apart = wheels.checkout([ROOT / "docs", ROOT / "README.md"])
    assert {*everything} - {*apart} == {path for path in everything if "docs" in path.parts or path.name == "README.md"}


def test_the_commit_is_the_given_one_or_that_of_the_checkout():
    assert report.circumstances("check", 9, tiny=True, commit="v1-3-gabc")["commit"] == "v1-3-gabc"
    assert kit.parse_arguments(["check", "--output=out", "--commit=abc"]).commit == "abc"


def record(name, status=PASSED, rows=(), **others):
    return {"name": name, "status": status, "seconds": 1.0, "rows": list(rows)} | others


def test_the_table_has_60_lines_at_most_and_faults_keep_their_place():
    about = {"part": "check", "tiny": False, "commit": "abc", "started": "today"}
    many = [record(f"item {number}", rows=[row("what", "1")] * 2) for number in range(40)]
    many += [record("late", DIFFERS, [within("late", 2.0, 1.0)]), record("left", LEFT_OUT, error="no time | left")]
    lines = report.table(about, many).splitlines()
    assert len(lines) == report.MOST_LINES
    assert "| late | late | 2 | at most 1 ✗ | 1 |" in lines
    assert "| left | left out: no time / left |  |  | 1 |" in lines
    assert "| … | 29 more lines in the JSON | | | |" in lines
    assert "40 passed, 1 differs, 1 left out" in lines
    few = report.table(about, many[:2] + many[-1:]).splitlines()
    assert len(few) == 6 + 5
    assert [line.count("|") for line in few[4:]] == [6] * 7


def test_a_difference_that_is_no_number_is_beyond_every_tolerance():
    assert within("what", float("nan"), 1.0)["good"] is False
    assert within("what", 1.0, 1.0)["good"] is True


def test_every_experiment_is_tried_and_every_function_of_the_plan_is_there(tmp_path):
    items = [item for part in plan.PARTS for item in plan.items(part, work=tmp_path)]
    masks = {item.arguments["mask"] for item in items if item.function.endswith(":experiments")}
    assert masks == {settings.load(f"digits:{experiment}").mixing.mask for experiment in EXPERIMENTS}
    for function in {item.function for item in items}:
        module, name = function.split(":")
        assert f"\ndef {name}(" in ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text()


def test_the_kit_itself_needs_no_package(tmp_path):
    """Where requirements are missing it has to say which."""
    code = "import sys; import benchmarks.gpu.__main__, benchmarks.gpu.worker, benchmarks.gpu.machine\n"
    code += "print({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    told = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    known = {"benchmarks", "chimeramix_jax", "__main__"}
    assert {name for name in eval(told.stdout) if not name.startswith("_")} <= known


def test_missing_packages_are_those_of_the_requirements():
    names = [name for name, _ in machine.requirements()]
    assert {"jax", "flax", "tensorflow-datasets", "pillow"} <= set(names)
    assert dict(machine.requirements())["flax"] == ">=0.12,<0.13"
    assert machine.fits("0.12.8", ">=0.12,<0.13") and not machine.fits("0.13.0", ">=0.12,<0.13")


def write(path, size=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))


@pytest.fixture
def runs(tmp_path):
    """A finished run, and one of a seed whose stage has two checkpoints."""
    runs = tmp_path / "runs"
    for run in ("50/baseline/seed-0", "50/baseline/seed-1"):
        write(runs / run / "config.json")
        write(runs / run / "classifier" / "metrics.jsonl")
        write(runs / run / "classifier" / "checkpoints" / "9" / "state", 1000)
        write(runs / run / "classifier" / "checkpoints" / "10" / "state", 1000)
    write(runs / "50/baseline/seed-0/results.json")
    return runs


def relative(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_an_archive_has_the_figures_of_finished_runs_and_all_that_others_need(runs, tmp_path):
    assert archive.pack(runs, tmp_path / "train.tar.gz") == []
    archive.unpack(tmp_path / "train.tar.gz", tmp_path / "again")
    finished = {f"50/baseline/seed-0/{name}" for name in ("config.json", "results.json", "classifier/metrics.jsonl")}
    kept = ("config.json", "classifier/metrics.jsonl", "classifier/checkpoints/10/state")
    assert relative(tmp_path / "again") == finished | {f"50/baseline/seed-1/{name}" for name in kept}


def test_runs_that_are_too_large_are_named_and_runs_that_are_there_are_left_alone(runs, tmp_path):
    assert archive.pack(runs, tmp_path / "train.tar.gz", 500) == [runs / "50/baseline/seed-1"]
    write(tmp_path / "again" / "50/baseline/seed-0" / "mine")
    archive.unpack(tmp_path / "train.tar.gz", tmp_path / "again")
    assert relative(tmp_path / "again") == {"50/baseline/seed-0/mine"}


def test_what_is_there_is_read_from_a_freeze():
    text = "absl-py==2.5.1\ntorch==2.11.0+cu130\nml_dtypes==0.6.0\n-e git+somewhere\nmine @ file:///wheels/mine.whl\n"
    assert wheels.frozen(text) == {"absl-py": "2.5.1", "torch": None, "ml-dtypes": "0.6.0", "mine": None}
    assert {"jax", "jaxlib", "orbax-checkpoint", "typing-extensions"} <= wheels.usual().keys()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["check", "--output=out", "--minutes=0.1"], "--minutes: 0.1 must be more than"),
        (["check", "--output=out", "--jobs=0"], "--jobs must be at least 1"),
        (["train", "--output=out"], "--images: train needs it"),
        (["train", "--output=out", "--images=nowhere"], "--images: nowhere does not exist"),
    ],
)
def test_mistakes_on_the_command_line_are_named(given, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        kit.parse_arguments(given)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_the_page_has_the_tolerances():
    from benchmarks.gpu import parity

    page = (ROOT / "docs" / "gpu.md").read_text()
    for precision, tolerances in parity.TOLERANCES.items():
        assert (
            f"| {precision} | {' | '.join(f'{one:.0e}'.replace('e-0', 'e-') for one in tolerances.values())} |" in page
        )


@pytest.mark.parametrize("part", plan.PARTS)
@pytest.mark.parametrize(
    "most", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.exhaustive)]
)
def test_a_rehearsal_of_each_part_passes(part, most, tmp_path):
    """In tiny sizes, and so many items at most for each function; goals and times do not count there."""
    without = set() if importlib.util.find_spec("torch") else {"benchmarks.gpu.speed:beside_pytorch"}
    by_function = {}
    for item in plan.items(part, work=tmp_path):
        if item.function in without:
            continue
        by_function.setdefault(item.function, []).append(item.name)
    only = ",".join(name for names in by_function.values() for name in names[:most])
    command = [sys.executable, "-m", "benchmarks.gpu", part, "--tiny", "--minutes=15", f"--only={only}"]
    command.append(f"--output={tmp_path / 'out'}")
    done = subprocess.run(
        [*command, f"--work={tmp_path / 'work'}"], cwd=ROOT, capture_output=True, text=True, timeout=1000
    )
    told = json.loads((tmp_path / "out" / f"{part}.json").read_text())
    wrong = [one for one in told["items"] if one["status"] != PASSED]
    assert not wrong, json.dumps(wrong, indent=1)
    assert done.returncode == 0
    assert done.stdout == (tmp_path / "out" / f"{part}.md").read_text()
    assert len(done.stdout.splitlines()) <= report.MOST_LINES
