"""The order of the rooms: imports point down the list in pyproject.toml, and none go in a circle."""

import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_imports_point_down_the_list_of_rooms_and_never_in_a_circle():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stdout
