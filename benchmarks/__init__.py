"""Measurements: not part of the package; the tests run none, but check what they compare with and how they count."""
