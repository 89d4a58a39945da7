"""The process of a side: those of ``benchmarks/speed_worker.py``, and the lean twin under ``torch.compile``.

python -m benchmarks.gpu.side compiled '{"preset": {...}, "device": "gpu", "steps": 50, "loader_workers": 0}'
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

from benchmarks import speed_worker
from benchmarks.gpu.sides import COMPILED
from benchmarks.presets import Request

_make = speed_worker.make


def make(name: str, request: Request) -> speed_worker.Contestant:
    """Creates a side by its name.

    Raises:
        RuntimeError: the side cannot run; the message says why.
    """
    return compiled_twin(request) if name == COMPILED else _make(name, request)


def compiled_twin(request: Request) -> speed_worker.Contestant:
    """Creates the lean twin with compiled forward and backward passes; losses and optimizers stay eager."""
    import torch

    from benchmarks import speed_twin

    # A CPU only rehearses this, so the traced program runs without code generation, which would take minutes.
    backend = "inductor" if torch.cuda.is_available() else "aot_eager"

    def compiled(network: Callable[..., Any], parts: tuple[str, ...]) -> Callable[..., Any]:
        def build(*arguments: Any) -> Any:
            built = network(*arguments)
            for part in (getattr(built, name) for name in parts) if parts else (built,):
                part.compile(backend=backend, dynamic=False)
            return built

        return build

    networks = {"Generator": ("encoder", "decoder"), "Discriminator": (), "WideResNet": ()}
    replaced: dict[str, Any] = {name: compiled(getattr(speed_twin, name), parts) for name, parts in networks.items()}
    with mock.patch.multiple(speed_twin, **replaced):
        return speed_twin.Twin(request, "lean")


if __name__ == "__main__":
    with mock.patch.object(speed_worker, "make", make):
        speed_worker.main()
