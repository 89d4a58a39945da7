"""What several test files share."""

from pathlib import Path

import numpy as np
import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def reference():
    """Weights, inputs and outputs of the published program's own modules, small: name to array."""
    with np.load(FIXTURES / "reference_small.npz") as arrays:
        return dict(arrays)
