"""One settings file per data set; ``common.py`` holds every default, ``experiments.py`` what an experiment changes."""
