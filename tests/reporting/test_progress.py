import io
import sys

import pytest
from rich.console import Console
from rich.text import Text

from chimeramix_jax.reporting.progress import (
    SECONDS_BETWEEN_LINES,
    SECONDS_OF_LONG_WORK,
    ProgressOfLongWork,
    StageProgress,
    duration,
)


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_log_file_gets_few_lines_and_a_final_one(clock):
    stream = io.StringIO()
    with StageProgress("generator", 1000, stream=stream, clock=clock) as progress:
        for step in range(1, 1001):
            clock.seconds += 25 / 1000
            progress.update(step, loss=1 / step)
    lines = stream.getvalue().splitlines()
    assert len(lines) == int(25 / SECONDS_BETWEEN_LINES) + 1
    assert lines[-1] == "generator: 1000/1000 steps (100%), 40 steps/s, loss 0.001"


def test_a_line_shows_rate_remaining_time_and_metrics(clock):
    stream = io.StringIO()
    progress = StageProgress("classifier", 400, stream=stream, clock=clock)
    progress.update(20, loss=0.8)
    clock.seconds = 16.0
    progress.update(100, loss=0.51234, accuracy=0.9)
    assert stream.getvalue() == "classifier: 100/400 steps (25%), 5 steps/s, 1m 00s left, loss 0.512, accuracy 0.9\n"


def test_a_line_uses_the_given_unit(clock):
    stream = io.StringIO()
    progress = StageProgress("segmentation", 40, unit="image", stream=stream, clock=clock)
    progress.update(10)
    clock.seconds = 10.0
    progress.update(20)
    assert stream.getvalue() == "segmentation: 20/40 images (50%), 1 images/s, 20s left\n"


def test_compilation_before_the_first_update_does_not_count_towards_the_rate(clock):
    stream = io.StringIO()
    progress = StageProgress("classifier", 400, stream=stream, clock=clock)
    clock.seconds = 60.0
    progress.update(1)
    clock.seconds = 70.0
    progress.update(51)
    assert stream.getvalue().splitlines() == [
        "classifier: 1/400 steps (0%)",
        "classifier: 51/400 steps (13%), 5 steps/s, 1m 10s left",
    ]


def test_a_log_file_says_at_once_what_takes_time_before_the_first_step(clock):
    stream = io.StringIO()
    with StageProgress("classifier", 400, stream=stream, clock=clock, beforehand="compiling") as progress:
        assert stream.getvalue() == "classifier: compiling\n"
        clock.seconds = 60.0
        progress.update(400)
    assert stream.getvalue().splitlines() == ["classifier: compiling", "classifier: 400/400 steps (100%)"]


def test_steps_of_an_earlier_run_count_towards_the_percentage_but_not_the_rate(clock):
    stream = io.StringIO()
    progress = StageProgress("generator", 400, first_step=300, stream=stream, clock=clock)
    progress.update(300)
    clock.seconds = 10.0
    progress.update(350)
    assert stream.getvalue() == "generator: 350/400 steps (88%), 5 steps/s, 10s left\n"


def test_an_interrupted_stage_shows_its_last_step(clock):
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), StageProgress("generator", 10, stream=stream, clock=clock) as progress:
        clock.seconds = 1.0
        progress.update(4)
        raise KeyboardInterrupt
    assert stream.getvalue().startswith("generator: 4/10 steps (40%)")


def test_closing_twice_or_without_a_step_prints_nothing_more(clock):
    stream = io.StringIO()
    progress = StageProgress("generator", 10, stream=stream, clock=clock)
    progress.close()
    assert stream.getvalue() == ""
    clock.seconds = 1.0
    progress.update(10)
    progress.close()
    progress.close()
    assert stream.getvalue().count("\n") == 1


def line_of(progress: StageProgress, width: int) -> str:
    """Returns what a terminal of this width shows."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(progress.row(width))
    return capture.get().rstrip()


@pytest.fixture
def display(clock):
    """A display on a terminal that is closed at the end; steps beyond the hundredth cost four times as much."""
    progress = StageProgress(
        "classifier (mixup)",
        200,
        stream=Terminal(),
        clock=clock,
        work=lambda steps: steps + 3 * max(steps - 100, 0),
        beforehand="compiling",
    )
    yield progress
    progress.close()


def test_a_terminal_shows_that_the_first_step_compiles(display, clock):
    clock.seconds = 31.0
    assert line_of(display, 80) == "classifier (mixup)  compiling, 31s"


def test_a_terminal_says_nothing_of_compiling_where_nothing_compiles(clock):
    progress = StageProgress("segmentation", 40, unit="image", stream=Terminal(), clock=clock)
    clock.seconds = 2.0
    assert line_of(progress, 80) == "segmentation  starting, 2s"
    progress.close()


def test_a_terminal_shows_what_matters_most_as_far_as_it_fits(display, clock):
    display.update(0)
    clock.seconds = 50.0
    display.update(50, loss=0.125, accuracy=0.5, test_top1=0.423, test_loss=1.5)
    bar = "━━╸" + 7 * " "
    start, end = "classifier (mixup)", "   25%  7m 30s left  test accuracy 42.3%"
    assert line_of(display, 130) == f"{start}  {bar}{end}  training accuracy 50.0%  loss 0.125  test_loss 1.5"
    assert line_of(display, 100) == f"{start}  {bar}{end}  training accuracy 50.0%"
    assert line_of(display, 80) == f"{start}  {bar}{end}"
    assert line_of(display, 60) == f"{start}{end}"
    assert len(line_of(display, 40)) <= 40


def test_the_time_left_follows_the_work_and_not_the_number_of_steps(display, clock):
    display.update(0)
    clock.seconds = 100.0
    display.update(100)
    assert "50%  6m 40s left" in line_of(display, 80)
    clock.seconds = 500.0
    display.update(200)
    assert line_of(display, 80).endswith("100%  in 8m 20s")


def test_displays_and_printed_text_share_a_terminal(clock, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with StageProgress("generator", 4, clock=clock) as first, StageProgress("classifier", 4, clock=clock) as second:
        print("a warning", file=sys.stderr)
        first.update(4)
        second.update(4)
    assert sys.stderr is stream
    assert "a warning\n" in stream.getvalue()
    lines = [line for line in Text.from_ansi(stream.getvalue()).plain.splitlines() if "100%" in line]
    assert [line.split()[0] for line in lines[-2:]] == ["classifier", "generator"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (68, "1m 08s"), (7500, "2h 05m"), (float("inf"), "unknown")],
)
def test_durations_are_formatted_for_people(seconds, text):
    assert duration(seconds) == text


def shown_of_work(clock, seconds, images=100, stream_of=io.StringIO):
    """Returns what is shown of work on images that takes so many seconds."""
    stream = stream_of()
    with ProgressOfLongWork("predict", images, "image", stream=stream, clock=clock) as progress:
        clock.seconds += 60  # until the first image
        for number in range(1, images + 1):
            progress.update(number)
            clock.seconds += seconds / images
    return stream.getvalue()


@pytest.mark.parametrize("stream_of", [io.StringIO, Terminal])
def test_quick_work_shows_nothing(clock, stream_of):
    assert shown_of_work(clock, SECONDS_OF_LONG_WORK - 0.1, stream_of=stream_of) == ""
    assert shown_of_work(clock, 100 * SECONDS_OF_LONG_WORK, images=1, stream_of=stream_of) == ""


def test_long_work_shows_its_progress_and_its_end(clock):
    lines = shown_of_work(clock, 20.0).splitlines()
    assert lines[0].startswith("predict: ") and " images (" in lines[0] and lines[0].endswith(" left")
    assert lines[-1] == "predict: 100/100 images (100%), 5 images/s"
    assert "100%" in shown_of_work(clock, 20.0, stream_of=Terminal)
