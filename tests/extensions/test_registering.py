"""Files and packages that register own ideas, and what is wrong with some."""

import hashlib
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import lookup, registry
from chimeramix_jax.extensions.registry import STATE

MASK = """from chimeramix_jax import extensions

@extensions.mask("rings")
def rings(key, batch_size, side, images):
    return {value}

extensions.experiment("rings", {{"mixing.mask": "rings"}})
"""


pytestmark = pytest.mark.usefixtures("nothing_registered")


@pytest.fixture
def written(tmp_path):
    def write(content, name="mine.py"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


def refusal(source):
    with pytest.raises(InputError) as caught:
        settings.check(settings.load(str(source)), environment=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_own_experiment_changes_the_settings_of_the_file_it_names(written):
    path = written(MASK.format(value="None"))
    config = settings.load(f"{path}:rings")
    assert config.experiment == "rings" and config.mixing.mask == "rings" and config.dataset.name == "digits"
    assert config.mixing.mask_code.startswith("mine.py ") and len(config.mixing.mask_code) == len("mine.py ") + 64
    settings.check(config, environment=False)
    assert settings.load(str(path)) == config  # the only experiment need not be named
    assert settings.load(f"{path}:baseline").mixing.mask_code == ""  # which uses no own idea


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("x = 1\nimport nosuch_module", "mine.py:2: ModuleNotFoundError: No module named 'nosuch_module'"),
        ("from chimeramix_jax import extensions\n\nextensions.maks('a')", "mine.py:3: AttributeError: "),
        ("def get_config():\n    return {}['key']", "mine.py:2: KeyError: 'key'"),
        ("def get_config(:", "not valid Python: invalid syntax"),
        (MASK.format(value=0).replace("rings", "grid"), "mine.py:3: mask 'grid': the program has one of this name"),
        (
            MASK.format(value=0).replace('experiment("rings"', 'experiment("baseline"'),
            "mine.py:7: experiment 'baseline': the program has one of this name",
        ),
        (
            MASK.format(value=0).replace('experiment("rings"', 'experiment("study"'),  # a group in the list of a sweep
            "mine.py:7: experiment 'study': the program has one of this name",
        ),
        (MASK.format(value=0) * 2, "mine.py:10: mask 'rings' is already registered in line 3"),
        (MASK.format(value=0).replace("mixing.mask", "mixing.maks"), "mine.py:7: experiment 'rings': mixing.maks: "),
        (
            MASK.format(value=0).replace('"mixing.mask": "rings"', '"seed": "one"'),
            "mine.py:7: experiment 'rings': seed: ",
        ),
        (MASK.format(value=0).replace('mask": "rings', 'mask": "ring'), "'ring' is not allowed.*did you mean 'rings'"),
        (MASK.format(value=0).replace('mask("rings")', 'mask("my rings")'), "mine.py:3: mask 'my rings': a name "),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_file_and_line(written, content, complaint):
    path = written(content)
    message = refusal(path)
    assert str(path) in message or "mixing.mask" in message
    assert re.search(complaint, message), message


def test_experiments_whose_files_lead_back_to_each_other_are_refused(written):
    experiment = "from chimeramix_jax import extensions\nextensions.experiment({!r}, {{}}, config={!r})\n"
    mine, other = written(experiment.format("mine", "mine.py")), written("", "other.py")
    for config, back in ((mine, mine), (other, mine)):
        mine.write_text(experiment.format("mine", str(config)))
        other.write_text(experiment.format("other", str(back)))
        message = refusal(mine)
        assert f"{mine}:2: experiment 'mine': " in message and "leads back to this file" in message


def test_a_name_that_another_file_has_registered_is_taken(written):
    settings.load(str(written(MASK.format(value=0))))
    message = refusal(written(MASK.format(value=1), "other.py"))
    assert "other.py:3: mask 'rings' is already registered by" in message and "mine.py:3" in message


def test_what_a_file_imports_may_be_registered_there(written):
    written(MASK.format(value=0))
    lines = (
        "import mine",
        "from chimeramix_jax.config import load",
        "def get_config():",
        "    return load('digits:rings')",
    )
    path = written("\n".join(lines), "config.py")
    assert settings.load(str(path)).mixing.mask_code.startswith("mine.py ")
    assert not (path.parent / "__pycache__").exists()
    before = settings.load(str(path)).mixing.mask_code
    written(MASK.format(value=1))
    assert settings.load(str(path)).mixing.mask_code not in ("", before)


def test_a_file_whose_copy_would_lack_another_file_is_refused(written):
    written("SIDE = 3", "constants_of_mine.py")
    message = refusal(written("import constants_of_mine\n" + MASK.format(value=0)))
    assert "mine.py:1: imports constants_of_mine, a file beside it" in message
    assert lookup.current(registry.MASK, "rings") is None


def test_both_versions_of_a_changed_file_can_be_used(written):
    path = written(MASK.format(value=0))
    old = settings.load(str(path))
    written(MASK.format(value=1))
    new = settings.load(str(path))
    for config, value in ((old, 0), (new, 1)):
        settings.check(config, environment=False)
        found = lookup.find(registry.MASK, "rings", config.mixing.mask_code)
        assert found(None, 1, 1, 2) == value
    assert settings.differences(old, new)[0].startswith("mine.py, which has mask 'rings', has changed (SHA-256 ")
    assert settings.default_workdir(old) != settings.default_workdir(new)
    assert settings.generator_identity(old) != settings.generator_identity(new)


CHANGED_MEANWHILE = """
import pathlib
from chimeramix_jax.config import load

def get_config(experiment="rings"):
    with open(pathlib.Path(__file__), "a") as file:
        file.write("# saved in an editor")
    return load(f"digits:{experiment}")
"""


def test_a_file_that_changes_while_it_is_loaded_is_used_as_it_was_read(written):
    content = MASK.format(value="None") + CHANGED_MEANWHILE
    path = written(content)
    config = settings.load(str(path))
    assert path.read_text() != content and config.mixing.mask == "rings"
    assert config.mixing.mask_code == f"mine.py {hashlib.sha256(content.encode()).hexdigest()}"


def test_a_kept_copy_is_used_although_the_file_has_changed_or_is_gone(written, tmp_path):
    path = written(MASK.format(value=0))
    config = settings.load(str(path))
    lookup.keep_copies(tmp_path / "run" / "extensions", settings.codes(config))
    stored = settings.to_json(config)
    STATE.current.clear(), STATE.by_digest.clear()
    path.unlink()
    with pytest.raises(InputError, match=r"needs mine\.py \(SHA-256 .*--config=mine\.py"):
        lookup.find(registry.MASK, "rings", config.mixing.mask_code)
    lookup.remember_copies(tmp_path / "run" / "extensions")
    restored = settings.from_json(stored)
    settings.check(restored, environment=False)
    assert settings.differences(config, restored) == []
    assert lookup.find(registry.MASK, "rings", restored.mixing.mask_code)(None, 1, 1, 2) == 0
    assert lookup.current(registry.MASK, "rings") is None  # the name is that of no file of now


def test_code_that_is_not_the_recorded_one_is_refused(written):
    path = written(MASK.format(value=0))
    planned = settings.load(str(path)).mixing.mask_code
    STATE.by_digest.clear()
    written(MASK.format(value=1))
    config = settings.load(str(path))
    settings.override(config, [f"--config.mixing.mask_code={planned}"])  # as a sweep passes it to its runs
    with pytest.raises(InputError, match=r"^mixing.mask_code: .*mine.py has changed: mask 'rings' is recorded with"):
        settings.check(config, environment=False)


def test_an_installed_package_registers_through_an_entry_point(tmp_path):
    package, about = tmp_path / "ringed", tmp_path / "ringed-1.5.dist-info"
    package.mkdir(), about.mkdir()
    (package / "__init__.py").write_text("")
    (package / "masks.py").write_text(MASK.format(value=7))
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ringed\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text("[chimeramix_jax.extensions]\nmasks = ringed.masks\n")
    program = (
        "from chimeramix_jax import config as settings; from chimeramix_jax.extensions import lookup;"
        "config = settings.load('digits:rings'); settings.check(config, environment=False);"
        "code = config.mixing.mask_code; print(lookup.label_of(code), lookup.find('mask', 'rings', code)(0, 1, 2, 3));"
        "config = settings.load('digits'); config.mixing.mask = 'ring'; settings.check(config, environment=False)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run = [sys.executable, "-c", program]
    process = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert process.stdout == "package ringed 1.5 7\n"
    assert "it must be one of grid, segmentation, none, rings (did you mean 'rings'?)" in process.stderr
    (package / "masks.py").write_text("\nimport nosuch_module")
    process = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=environment)
    complaint = f"package ringed: cannot be loaded: {package}/masks.py:2: ModuleNotFoundError: No module named"
    assert complaint in process.stderr
