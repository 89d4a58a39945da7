"""A trace of some training steps, to be opened in Perfetto or TensorBoard: where a step's time goes."""

from pathlib import Path

import jax


class StepProfiler:
    """Traces the first steps of a stage that are not slowed down by compilation.

    A process can write one trace at a time: of seeds that train together, the first one's has the steps of all.
    """

    _tracing: "StepProfiler | None" = None  # whose trace is being written

    def __init__(self, directory: Path, steps: int):
        """Prepares a trace of at least ``steps`` steps in ``directory``; 0: none."""
        self._directory, self._steps_left, self._compiled = directory, steps, False

    def before_call(self) -> None:
        """Starts the trace, if the steps have been compiled by now."""
        if self._steps_left > 0 and self._compiled and StepProfiler._tracing is None:
            jax.profiler.start_trace(str(self._directory), create_perfetto_trace=True)
            StepProfiler._tracing = self

    def after_call(self, steps: int) -> None:
        """Counts the steps of a call, and writes the trace when it has enough."""
        self._compiled = True
        if StepProfiler._tracing is self:
            self._steps_left -= steps
            if self._steps_left <= 0:
                self.close()

    def close(self) -> None:
        """Writes what has been traced, if a trace is under way."""
        if StepProfiler._tracing is self:
            StepProfiler._tracing, self._steps_left = None, 0
            jax.profiler.stop_trace()
