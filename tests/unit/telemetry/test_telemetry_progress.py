"""Plain lines into files and pipes, a drawn bar in a real terminal, and speeds that count only this run."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.telemetry import ProgressPoint, ProgressReporter, RateWindow, RunRate


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def reporter(stream: io.StringIO, clock: Clock) -> ProgressReporter:
    return ProgressReporter("train", "step", stream=stream, clock=clock)


def test_a_plain_line_says_everything_that_is_known() -> None:
    stream, clock = io.StringIO(), Clock()
    with reporter(stream, clock) as progress:
        progress.update(ProgressPoint(done=0, total=1200))
        clock.now_s += 36
        progress.update(ProgressPoint(done=400, total=1200, images_per_s=412.3, loss=0.04321, data_wait_share=0.031))
    assert stream.getvalue().splitlines() == [
        "train  step 0/1200  0%  ETA -",
        "train  step 400/1200  33%  412 images/s  loss 0.0432  wait 3%  ETA 0:01:12",
    ]


def test_lines_keep_the_interval_and_the_last_point_is_never_lost() -> None:
    stream, clock = io.StringIO(), Clock()
    with reporter(stream, clock) as progress:
        for step in range(121):
            progress.update(ProgressPoint(done=step, total=120))
            clock.now_s += 0.1
    steps = [int(line.split()[2].split("/")[0]) for line in stream.getvalue().splitlines()]
    assert steps == [0, 50, 100, 120]
    assert stream.getvalue().endswith("step 120/120  100%  ETA 0:00:00\n")


def test_the_last_line_is_not_repeated_and_nothing_is_written_without_points() -> None:
    stream, clock = io.StringIO(), Clock()
    with reporter(stream, clock) as progress:
        progress.update(ProgressPoint(done=1, total=1))
    progress.close()
    assert len(stream.getvalue().splitlines()) == 1
    silent = io.StringIO()
    with reporter(silent, clock):
        pass
    assert silent.getvalue() == ""


def test_the_last_point_is_shown_when_the_job_fails() -> None:
    stream, clock = io.StringIO(), Clock()

    def job_that_fails() -> None:
        with reporter(stream, clock) as progress:
            progress.update(ProgressPoint(done=1, total=9))
            progress.update(ProgressPoint(done=2, total=9))
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        job_that_fails()
    assert "step 2/9" in stream.getvalue()


def test_a_resumed_run_does_not_count_the_steps_of_earlier_runs() -> None:
    stream, clock = io.StringIO(), Clock()
    with reporter(stream, clock) as progress:
        progress.update(ProgressPoint(done=900, total=1000))
        clock.now_s += 10
        progress.update(ProgressPoint(done=910, total=1000))
    assert stream.getvalue().splitlines()[-1].endswith("ETA 0:01:30")


def test_one_step_less_than_all_is_not_a_hundred_percent() -> None:
    stream = io.StringIO()
    with reporter(stream, Clock()) as progress:
        progress.update(ProgressPoint(done=9999, total=10000, images_per_s=0.456))
    assert stream.getvalue() == "train  step 9999/10000  99%  0.46 images/s  ETA -\n"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"done": 0, "total": 0}, "got total 0"),
        ({"done": 5, "total": 4}, "got done 5, expected 0 to 4"),
        ({"done": 1, "total": 4, "data_wait_share": 1.5}, "got data_wait_share 1.5"),
    ],
)
def test_impossible_points_are_refused(fields: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ProgressPoint(**fields)  # pyright: ignore[reportArgumentType]


SCRIPT = """
import threading
from pipeline.telemetry import ProgressPoint, ProgressReporter
with ProgressReporter("train", "step", interval_s=0.0) as progress:
    for step in (1, 2, 3):
        progress.update(ProgressPoint(done=step, total=3, images_per_s=412.0, loss=0.5, data_wait_share=0.25))
    assert threading.active_count() == 1
"""
ENVIRONMENT = os.environ | {"TERM": "xterm-256color", "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}


def test_a_pipe_gets_plain_lines_even_where_colors_are_forced() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=True
    )
    first, second, third = done.stdout.splitlines()
    assert first == "train  step 1/3  33%  412 images/s  loss 0.5000  wait 25%  ETA -"
    assert second.startswith("train  step 2/3  66%  412 images/s  loss 0.5000  wait 25%  ETA 0:")
    assert third == "train  step 3/3  100%  412 images/s  loss 0.5000  wait 25%  ETA 0:00:00"
    assert "\x1b" not in done.stdout


def test_a_line_is_out_before_the_next_one_is_due() -> None:
    script = """
import sys
from pipeline.telemetry import ProgressPoint, ProgressReporter
progress = ProgressReporter("train", "step")
progress.update(ProgressPoint(done=1, total=3))
sys.stdin.readline()  # the job goes on for long
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdin is not None
        assert job.stdout is not None
        assert job.stdout.readline() == "train  step 1/3  33%  ETA -\n"
        assert job.poll() is None
        job.stdin.write("\n")


def screen_of(script: str, environment: dict[str, str]) -> str:
    """Everything that a script sends to a real terminal of 80 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    chunks: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # the terminal is closed: Linux says EIO, not end of file
                return
            if not chunk:
                return
            chunks.append(chunk)

    reading = threading.Thread(target=read)
    reading.start()
    environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run([sys.executable, "-c", script], stdout=slave, timeout=60, env=environment, check=True)
    os.close(slave)
    reading.join()
    os.close(master)
    return b"".join(chunks).decode()


def test_a_terminal_gets_a_bar_with_every_field_in_eighty_columns() -> None:
    screen = screen_of(SCRIPT, ENVIRONMENT)
    assert "\x1b[" in screen
    assert "━" in screen
    for words in ("step 3/3", "100%", "412 images/s", "loss 0.5000", "wait 25%", "ETA 0:00:00"):
        assert words in screen


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines() -> None:
    screen = screen_of(SCRIPT, ENVIRONMENT | {"TERM": "dumb"})
    assert "\x1b[" not in screen
    assert screen.splitlines()[-1] == "train  step 3/3  100%  412 images/s  loss 0.5000  wait 25%  ETA 0:00:00"


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.integers(3, 200), st.floats(0.01, 10))
def test_a_steady_count_has_a_steady_rate_wherever_it_starts(
    start: int, growth: int, observations: int, pause_s: float
) -> None:
    window = RateWindow(window_s=30)
    for number in range(observations):
        window.observe(number * pause_s, start + number * growth)
    assert window.per_second() == pytest.approx(growth / pause_s)


def test_the_rate_forgets_what_left_the_window_and_restarts_after_a_fall() -> None:
    window = RateWindow(window_s=10)
    assert window.per_second() is None
    window.observe(0, 400)
    assert window.per_second() is None
    window.observe(1, 1400)
    assert window.per_second() == 1000
    for now_s in range(2, 20):
        window.observe(now_s, 1400)
    assert window.per_second() == 0
    window.observe(20, 1000)
    assert window.per_second() is None
    window.observe(21, 1007)
    assert window.per_second() == 7


def test_a_window_must_have_a_length() -> None:
    with pytest.raises(ValueError, match="got window_s 0"):
        RateWindow(window_s=0)


def test_the_rate_of_a_long_run_leaves_its_start_up_and_its_end_out() -> None:
    rate = RunRate(begin_s=100.0)
    assert rate.per_second() is None
    rate.observe(160.0, 0)
    assert rate.per_second() is None
    rate.observe(200.0, 50)
    rate.observe(210.0, 150)
    rate.observe(300.0, 150)
    assert rate.per_second() == 10.0


def test_a_short_run_has_the_rate_of_the_whole_of_it() -> None:
    rate = RunRate(begin_s=100.0)
    rate.observe(101.0, 50)
    assert rate.per_second() == 50.0
    rate.observe(101.5, 90)
    rate.observe(103.5, 90)
    assert rate.per_second() == 60.0
