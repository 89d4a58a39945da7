"""docs/notebooks/digits.ipynb, whose cells are run as they stand there but with tiny networks."""

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, TINY

NOTEBOOK = ROOT / "docs" / "notebooks" / "digits.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]

# Runs the cells one after the other, as Jupyter does, after making the settings that they load tiny.
RUN = """
import json, sys
from chimeramix_jax import config as settings

code, values, blocked = json.loads(sys.argv[1])
for module in blocked:
    sys.modules[module] = None
load = settings.load

def load_tiny(source):
    config = load(source)
    config.update_from_flattened_dict(values)
    return config

settings.load = load_tiny
names = {"__name__": "__main__"}
for number, cell in enumerate(code):
    print(f"[{number}]")
    exec(compile(cell, f"cell {number}", "exec"), names)
"""


def run(code, folder, values, blocked=()):
    command = [sys.executable, "-c", RUN, json.dumps([code, values, blocked])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stderr
    return re.split(r"^\[\d+\]\n", process.stdout, flags=re.MULTILINE)[1:]


def test_the_notebook_is_stored_without_outputs_and_each_cell_is_code():
    assert len(CODE) == 5
    for cell in CELLS:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None
    for code in CODE:
        compile(code, NOTEBOOK.name, "exec")


@pytest.mark.slow
def test_the_cells_do_what_the_text_says(tmp_path, data_dir):
    values = TINY | {"dataset.data_dir": str(data_dir)}
    trained, pictures, classified, unsure, exported = run(CODE, tmp_path, values)
    accuracy = re.match(r"(\d+\.\d%) of 697 test images right with mixing, \d+\.\d% without\n$", trained)[1]
    assert (pictures, classified) == ("", f"{accuracy} right\n")
    assert re.fullmatch(r"(images\[\d+\] \d \(\d+%\) \d \(\d+%\) \d \(\d+%\)\n){5}", unsure)
    assert re.fullmatch(r"runs/digits\.onnx: \d\.\d MB, checked on 697 images\n", exported)
    without_onnx = run([CODE[0], CODE[-1]], tmp_path, values, blocked=["onnx"])
    assert without_onnx[0] == trained
    assert without_onnx[1].count("\n") == 1 and "pip install" in without_onnx[1] and "onnx" in without_onnx[1]
