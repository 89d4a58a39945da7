"""What several test files share."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# Compiling takes most of the tests' time, and what is compiled runs for moments only. Set before JAX is imported.
# The last flag halves it, and not every XLA knows it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""),
)

import jax
import numpy as np
import pytest

from chimeramix_jax.command_line import exits, program
from chimeramix_jax.config import load
from chimeramix_jax.extensions import lookup
from chimeramix_jax.extensions.registry import STATE
from chimeramix_jax.runtime import xla_flags

xla_flags.keep_convolutions_from_ynnpack()  # as in a run: what tests compute here and there has to be the same

# Shells start background jobs with Ctrl-C ignored, and so would start every process that a test wants to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"

# Tracing makes objects by the hundred thousand, but little garbage. To search for it took a fifth of the tests' time.
gc.set_threshold(50_000, 20, 50)

# Real runs, but of networks and epochs that two cores train in seconds. A step of other sizes is compiled anew, which
# takes longer than to train: so let most tests keep them.
TINY = {
    "classifier.batch_size": 8,
    "classifier.epochs": 5,
    "classifier.image_side": 8,
    "classifier.model": "wrn-10-1",
    "classifier.num_dataset_repeats_base": 4,
    "evaluation.every_epochs": 100,  # at the end only
    "generator.batch_size": 8,
    "generator.channels": 4,
    "generator.discriminator_channels": 4,
    "generator.epochs": 5,
    "generator.num_dataset_repeats_base": 3,
    "generator.residual_blocks": 1,
    "max_labels_per_class": 2,
    "pretraining.batch_size": 8,
    "pretraining.epochs": 5,
    "pretraining.num_dataset_repeats_base": 4,
    "pretraining.projection_size": 8,
}


# What makes such a run measure, draw and keep something on its way.
WATCHED = {"checkpoint.every_seconds": 0.0, "evaluation.every_epochs": 2}

# Files that take longest begin first, so that no worker is left alone with one of them at the end. The first eight
# do with ``-m slow``.
LONGEST_FIRST = (
    "test_gpu_kit.py",
    "test_as_on_an_accelerator.py",
    "test_ray.py",
    "test_slurm.py",
    "test_equal_time.py",
    "test_several_seeds.py",
    "test_random_kills.py",
    "test_tune.py",
    "test_resume.py",
    "test_update.py",
    "test_environments.py",
    "test_with_folds.py",
    "test_python_page.py",
    "test_experiments.py",
    "test_one_run.py",
    "test_shared_generator.py",
    "test_retraining.py",
    "test_final.py",
    "test_same_data.py",
    "test_photo_fits.py",
    "test_prediction.py",
)


def pytest_collection_modifyitems(items):
    """Sorts the tests by their files' place in ``LONGEST_FIRST``; others stay in their order behind them."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish():
    """Takes what was imported and collected out of the search for garbage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """Leaves the rest to the end of the process; xdist may interrupt a worker, and a search would print a traceback."""
    gc.disable()


@pytest.fixture(scope="session")
def reference():
    """Weights, inputs and outputs of the published program's own modules, small: name to array."""
    with np.load(FIXTURES / "reference_small.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def resnet_reference():
    """Weights, images and outputs of a small ResNet in PyTorch; ``make_resnet_small.py`` there tells the names."""
    with np.load(FIXTURES / "resnet_small.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder that all workers of the test session share."""
    temporary = tmp_path_factory.getbasetemp()
    return temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary


@pytest.fixture(scope="session")
def data_dir(shared_folder):
    """Where TFDS prepares data sets for the whole test session."""
    return shared_folder / "tfds"


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(shared_folder):
    """Compiles every function once for all the processes of the test session.

    If ``JAX_COMPILATION_CACHE_DIR`` names a folder, as in ``.ci/run``, it is also for later sessions.
    """
    directory = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(shared_folder / "compilation-cache"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="session")
def trained_run(shared_folder, run_main):
    """The directory of a finished run of ``main.py`` on the digits with tiny networks, for all workers to read only.

    What it printed is in ``output`` and ``errors`` beside it.
    """
    folder = shared_folder / "trained"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        if not (folder / "errors").exists():
            code, output, errors = run_main(f"--workdir={folder / 'run'}", **WATCHED)
            assert code == 0, errors
            (folder / "output").write_text(output)
            (folder / "errors").write_text(errors)
    return folder / "run"


@pytest.fixture
def tmp_path(tmp_path):
    """A folder with nothing beside it, since a run looks beside itself for a generator to use."""
    path = tmp_path / "alone"
    path.mkdir()
    return path


@pytest.fixture
def nothing_registered(monkeypatch):
    """Forgets own ideas that are registered, and afterwards those that the test registers."""
    for name in ("current", "by_digest"):
        monkeypatch.setattr(STATE, name, {})
    monkeypatch.setattr(lookup, "_copies", {})


@pytest.fixture(scope="session")
def photo_settings(data_dir):
    """Returns the settings of an experiment with tiny networks on a folder of photos of 8x8 pixels."""

    def make(photos, experiment, **changes):
        config = load(f"configs/digits.py:{experiment}")
        data = {"dataset.data_dir": str(data_dir), "dataset.name": "image_folder", "dataset.image_side": 8}
        run = {"dataset.directory": str(photos), "compare_with_baseline": False}
        config.update_from_flattened_dict(TINY | data | run | changes)
        return config

    return make


@pytest.fixture
def start_process():
    """Starts a command in a process of its own, whose output is read from pipes; it is killed with the test."""
    started = []

    def start(command, folder, environment):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def start_main(data_dir):
    """Starts ``main.py`` as a user does, on the digits with tiny networks; more arguments come on top."""

    def start(*arguments, **settings):
        command = [sys.executable, str(ROOT / "main.py"), *tiny(data_dir, settings), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def tiny(data_dir, settings):
    """The flags of a run on the digits with tiny networks."""
    values = {"dataset.data_dir": data_dir} | TINY | settings
    return [f"--config.{key}={value}" for key, value in values.items()]


@pytest.fixture(scope="session")
def run_main(start_main):
    """Runs ``main.py`` to its end; returns exit code, standard output and standard error."""

    def run(*arguments, **settings):
        process = start_main(*arguments, **settings)
        output, errors = process.communicate(timeout=900)
        return process.returncode, output, errors

    return run


@pytest.fixture
def run_here(data_dir, monkeypatch, capsys):
    """Does what ``run_main`` does in this process, which need not be started and import everything."""
    monkeypatch.setattr(exits, "quiet_libraries", lambda: None)  # for good: also for the tests that follow

    def run(*arguments, **settings):
        capsys.readouterr()
        code = program.main([*tiny(data_dir, settings), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run
