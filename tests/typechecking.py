"""The type checker of the tests: every call in the package is checked, array shapes and types included.

pytest's option ``--jaxtyping-packages`` in pyproject.toml names it. Whole numbers count as ``float``, as for mypy.
"""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
