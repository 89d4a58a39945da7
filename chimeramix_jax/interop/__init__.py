"""Loads weights of other programs."""
