"""The type checker of the tests: checks the arguments and results of every call in the package, array shapes included.

pyproject.toml names it in pytest's option ``--jaxtyping-packages``.
"""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # integers are also floats, as for mypy
