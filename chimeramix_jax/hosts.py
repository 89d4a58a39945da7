"""Several processes, usually one per host, that share a study's seeds: finding each other, waiting, and telling.

Every process trains its own seeds on its own devices; they meet where data sets are prepared and at the end.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from chimeramix_jax.errors import InputError, one_line

PATIENCE = 30 * 24 * 3600  # seconds that a finished process waits for the others
_FORM = "auto, or HOST:PORT,INDEX,COUNT such as 10.0.0.1:1234,0,2"


def connect(where: str) -> None:
    """Joins the other processes; to be called before anything else of JAX.

    Args:
        where: "auto" (Slurm, Open MPI and clouds tell JAX themselves), or ``HOST:PORT,INDEX,COUNT``: where the process
            of index 0 listens, this process's index, and how many there are.

    Raises:
        InputError: it is neither, or the processes do not find each other.
    """
    arguments = {} if where == "auto" else _explicit(where)
    try:
        jax.distributed.initialize(**arguments)
    except (RuntimeError, ValueError) as error:
        reason = one_line(error)
        raise InputError(f"--distributed={where}: the processes do not find each other: {reason}") from None


def _explicit(where: str) -> dict[str, Any]:
    parts = re.fullmatch(r"([^\s,]+:\d+),(\d+),(\d+)", where)
    if parts is None:
        raise InputError(f"--distributed={where}: it must be {_FORM}")
    index, count = int(parts[2]), int(parts[3])
    if index >= count:
        raise InputError(f"--distributed={where}: index {index} of {count} processes; it must be 0 to {count - 1}")
    return {"coordinator_address": parts[1], "num_processes": count, "process_id": index}


def wait_for_all(what: str) -> None:
    """Returns when every process has come this far, however long one takes; ``what`` names the place."""
    if jax.process_count() > 1:
        import orbax.checkpoint as ocp  # a collective of JAX's own gives up after half a minute

        everyone = set(range(jax.process_count()))
        ocp.multihost.sync_global_processes(f"chimeramix {what}", timeout=PATIENCE, processes=everyone)


def gathered(value: Any, what: str) -> list[Any]:
    """What every process has to tell, by its index: values that JSON can hold. All processes have to call it."""
    if jax.process_count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    wait_for_all(what)
    told = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(told)])).reshape(-1)
    padded = np.pad(told, (0, lengths.max() - len(told)))
    rows = multihost_utils.process_allgather(padded).reshape(len(lengths), -1)
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """Lets the process of index 0 go through a block before the others, whose shared files it may prepare."""
    if jax.process_index() > 0:
        wait_for_all("the first process has prepared")
    try:
        yield
    finally:
        if jax.process_index() == 0:
            wait_for_all("the first process has prepared")


def is_first() -> bool:
    """Whether this is the process that speaks for all."""
    return jax.process_index() == 0
