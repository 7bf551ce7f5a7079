"""What a run tells while it goes, in each of its three forms."""

from __future__ import annotations

import json
import time
from io import StringIO
from itertools import pairwise

import numpy as np
import pytest

from ganinfer import progress

INFO = {
    "parameters": {
        "N1": {"estimate": 9012.3, "interval": [8800.0, 9250.0]},
        "m": {"estimate": np.float64(3.2e-5), "interval": [None, None]},
    },
    "seconds": 95.0,
    "windows_per_second": 512.3,
}


def tell(events: progress.Progress) -> None:
    """A run of two rounds."""
    with events:
        events.message("reading the genomes")
        for index in range(2):
            events.round_started(index, 2, 1000, 1000 * (1 - index))
            events.windows_done(600)
            events.windows_done(400)
            events.round_finished(index, INFO)
        events.finished({"stopped": "converged"})


def test_plain_lines_name_the_round_and_the_parameters() -> None:
    stream = StringIO()
    tell(progress.make(stream=stream))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "reading the genomes"
    assert lines[1] == "round 1 of 2: simulating 1,000 windows"
    assert lines[2].startswith("round 1 of 2: N1 9,012 (8,800 – 9,250); m 3.200e-05 | 1 min 35 s | 512.3 windows/s")
    assert lines[-1] == "stopped: converged"


def test_json_lines_are_one_object_an_event() -> None:
    stream = StringIO()
    tell(progress.make(json_lines=True, stream=stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    one_round = ["round_started", "windows_done", "windows_done", "round_finished"]
    assert [event["event"] for event in events] == ["message", *one_round, *one_round, "finished"]
    assert [event["done"] for event in events if event["event"] == "windows_done"] == [600, 1000] * 2
    assert events[4]["parameters"]["m"]["estimate"] == 3.2e-5
    assert all(a["time"] <= b["time"] for a, b in pairwise(events))


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_messages_bar_and_parameters() -> None:
    stream = Terminal()
    events = progress.make(stream=stream)
    assert isinstance(events, progress.Rich)
    tell(events)
    shown = stream.getvalue()
    for text in ("reading the genomes", "round 2 of 2", "9,012", "8,800 – 9,250", "stopped: converged"):
        assert text in shown


def test_a_terminal_is_left_in_order_after_an_error() -> None:
    events = progress.make(stream=Terminal())
    assert isinstance(events, progress.Rich)
    with pytest.raises(RuntimeError, match="in mid-round"):
        fail_in_mid_round(events)
    assert not events.live.is_started


def fail_in_mid_round(events: progress.Progress) -> None:
    with events:
        events.round_started(0, 3, 10, 20)
        raise RuntimeError("in mid-round")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (9012.3, "9,012"),
        (999.94, "999.9"),
        (123_456.0, "123,500"),
        (0.05123, "0.05123"),
        (1.25e-8, "1.250e-08"),
        (-2e13, "-2.000e+13"),
    ],
)
def test_numbers_have_four_figures(value: float, shown: str) -> None:
    assert progress.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_read_at_a_glance(seconds: float, shown: str) -> None:
    assert progress.duration(seconds) == shown


def test_time_left_counts_from_where_a_run_was_resumed() -> None:
    left = progress.TimeLeft()
    left.round_started(1000, 1000)
    assert left.seconds(0.0) is None
    left.start -= 10.0
    assert left.seconds(0.5) == pytest.approx(30.0, rel=0.05)
    left.round_started(1000, 0)
    assert left.seconds(1.0) == pytest.approx(0.0)


def test_time_left_is_that_of_the_windows_to_come() -> None:
    """Where every window takes as long, what is left is known after the first round, however the rounds differ."""
    sizes = [500, 1000, 4000]
    left = progress.TimeLeft()
    for i, size in enumerate(sizes):
        left.round_started(size, sum(sizes[i + 1 :]))
        left.start = time.monotonic() - 0.01 * sum(sizes[: i + 1])
        assert left.seconds(1.0) == pytest.approx(0.01 * sum(sizes[i + 1 :]), rel=0.05, abs=0.01)
