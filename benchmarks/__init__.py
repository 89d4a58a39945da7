"""Measurements: not part of the package, and nothing that the tests run."""
