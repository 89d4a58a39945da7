"""Chooses the recipe for a few images within a given time, and trains the final model with it.

``final`` is the whole of it. ``menu`` is the table of recipes, ``candidates`` those with enough images. ``halving``,
``clock``, ``optimism``, ``sides`` and ``final_cost`` are the plan as pure functions, ``record`` the file that stores
everything that was tried, ``choice`` carries out the plan, and ``trials`` trains.
"""
