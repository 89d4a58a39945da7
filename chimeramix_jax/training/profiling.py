"""Traces some training steps, to be viewed in Perfetto or TensorBoard."""

from pathlib import Path

import jax


class StepProfiler:
    """Traces the first steps of a stage after its compilation.

    A process can write only one trace at a time. When seeds train together, the first seed's trace covers all of them.
    """

    _tracing: "StepProfiler | None" = None  # the profiler whose trace is being written

    def __init__(self, directory: Path, steps: int):
        """Prepares a trace of at least ``steps`` steps in ``directory``; 0: no trace."""
        self._directory, self._steps_left, self._compiled = directory, steps, False

    def before_call(self) -> None:
        """Starts the trace once the steps have been compiled."""
        if self._steps_left > 0 and self._compiled and StepProfiler._tracing is None:
            jax.profiler.start_trace(str(self._directory), create_perfetto_trace=True)
            StepProfiler._tracing = self

    def after_call(self, steps: int) -> None:
        """Counts the steps of a call, and writes the trace when it covers enough of them."""
        self._compiled = True
        if StepProfiler._tracing is self:
            self._steps_left -= steps
            if self._steps_left <= 0:
                self.close()

    def close(self) -> None:
        """Writes the trace, if one is in progress."""
        if StepProfiler._tracing is self:
            StepProfiler._tracing, self._steps_left = None, 0
            jax.profiler.stop_trace()
