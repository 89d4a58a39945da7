"""Chooses the recipe for a few images within a given time, and trains the final model with it.

``menu`` is the table of recipes. ``halving``, ``clock`` and ``optimism`` are the plan as pure functions, ``record`` the
file that stores everything that was tried, ``choice`` carries out the plan, and ``trials`` trains.
"""
