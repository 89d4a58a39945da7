"""The search for good settings: many trials, each an ordinary run, judged on validation images or on folds.

``space`` reads what is searched. ``search`` keeps the trials in Optuna's storage (``journal``), which several processes
share, and ``sampling`` decides which settings come next. ``trial`` carries out one trial, ``pool`` several at once.
``outcome`` ranks the trials and writes the best settings as a config file, and ``page`` draws what mattered.

Nothing here imports JAX, as every run is a separate process. Only ``search``, ``journal``, ``sampling``, ``pool`` and
``page`` need Optuna.
"""
