"""Counters stay exact and never fall through restarts, repeats and reordering; gauges follow the newest report."""

import math
import pickle
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.telemetry import (
    IMAGES_GENERATED,
    IMAGES_STREAMED,
    IMAGES_TRAINED,
    JOB_INFO,
    LEARNING_RATE,
    PARTS_COMMITTED,
    STORAGE_RETRIES,
    TARGET_STEPS,
    TRAIN_LOSS,
    TRAIN_STEP,
    TRAINER_DATA_WAIT_SECONDS,
    HubState,
    Report,
    Tally,
    metrics_of,
)
from pipeline.telemetry.hub_state import MAX_SERIES_PER_METRIC
from pipeline.telemetry.worker_ledger import MAX_OPEN_ATTEMPTS

STREAMED = IMAGES_STREAMED.name
RESTARTS = "swissroll_worker_restarts_total"


def train_hub() -> HubState:
    return HubState(metrics_of("train"))


def streamed(worker: str, attempt: int, sequence: int, images: float) -> Report:
    return Report(worker=worker, attempt=attempt, sequence=sequence, totals={IMAGES_STREAMED.series(): images})


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Report], float, int]:
    """Reports in a shuffled order with repeats; the true total of images; the true number of restarts."""
    reports: list[Report] = []
    true_total = 0.0
    restarts = 0
    for worker in range(draw(st.integers(1, 4))):
        attempts = draw(st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=5), min_size=1, max_size=4))
        restarts += len(attempts) - 1
        for attempt, increments in enumerate(attempts):
            total = 0
            for sequence, increment in enumerate(increments):
                total += increment
                reports.append(streamed(f"loader-{worker}", attempt, sequence, total))
            true_total += total
    repeats = draw(st.lists(st.sampled_from(reports), max_size=10))
    return draw(st.permutations(reports + repeats)), true_total, restarts


@given(histories())
def test_any_order_of_reports_ends_at_the_true_total_and_never_falls(history: tuple[list[Report], float, int]) -> None:
    reports, true_total, restarts = history
    hub = train_hub()
    seen = [hub.snapshot()]
    for report in reports:
        hub.report(report)
        seen.append(hub.snapshot())
    for before, after in pairwise(seen):
        assert before[STREAMED] <= after[STREAMED]
        assert before[RESTARTS] <= after[RESTARTS]
    assert seen[-1][STREAMED] == true_total
    assert seen[-1][RESTARTS] == restarts


@given(st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=3 * MAX_OPEN_ATTEMPTS))
def test_seconds_never_fall_by_a_rounding_however_many_attempts_are_closed(waits: list[float]) -> None:
    hub = train_hub()
    last = 0.0
    for attempt, wait_s in enumerate(waits):
        hub.report(Report(worker="trainer-0", attempt=attempt, sequence=1, totals={TRAINER_DATA_WAIT_SECONDS.series(): wait_s}))
        now = hub.snapshot()[TRAINER_DATA_WAIT_SECONDS.name]
        assert now >= last
        last = now
    assert last == pytest.approx(math.fsum(waits))


def test_a_restarted_worker_starts_from_zero_and_adds_on() -> None:
    hub = train_hub()
    hub.report(streamed("loader-0", 0, 1, 100))
    hub.report(streamed("loader-0", 1, 1, 10))
    hub.report(streamed("loader-0", 0, 2, 120))  # the last words of the first life arrive late
    assert hub.snapshot()[STREAMED] == 130
    assert hub.snapshot()[RESTARTS] == 1


def test_the_hub_numbers_the_lives_of_each_worker_and_counts_only_those_that_reported() -> None:
    hub = HubState(metrics_of("train"), max_workers=2)
    assert [hub.new_attempt(worker) for worker in ("a", "b", "a", "a", "b")] == [0, 0, 1, 2, 1]
    assert hub.snapshot()[RESTARTS] == 0
    hub.report(streamed("a", 2, 1, 5))
    assert (hub.snapshot()[STREAMED], hub.snapshot()[RESTARTS]) == (5, 0)
    hub.report(streamed("a", 0, 1, 7))  # the first life's only report, on its way until now
    assert (hub.snapshot()[STREAMED], hub.snapshot()[RESTARTS]) == (12, 1)
    with pytest.raises(ValueError, match="got 'c', expected at most 2 distinct workers"):
        hub.new_attempt("c")


def test_memory_of_attempts_is_bounded_and_closed_ones_take_no_more_reports() -> None:
    hub = train_hub()
    attempts = 1000
    for attempt in range(attempts):
        hub.report(streamed("loader-0", attempt, 1, 3))
    hub.report(streamed("loader-0", 0, 2, 1_000_000))
    assert hub.snapshot()[STREAMED] == 3 * attempts
    assert len(hub._workers["loader-0"]._open) == MAX_OPEN_ATTEMPTS


def test_too_many_workers_are_refused_and_known_ones_go_on() -> None:
    hub = HubState(metrics_of("train"), max_workers=2)
    hub.report(streamed("a", 0, 1, 1))
    hub.report(streamed("b", 0, 1, 1))
    with pytest.raises(ValueError, match="at most 2 distinct workers"):
        hub.report(streamed("c", 0, 1, 1))
    hub.report(streamed("a", 0, 2, 5))
    assert hub.snapshot()[STREAMED] == 6


def test_label_values_are_bounded() -> None:
    hub = train_hub()
    totals = {STORAGE_RETRIES.series(operation=f"op-{number}"): 1.0 for number in range(MAX_SERIES_PER_METRIC + 1)}
    with pytest.raises(ValueError, match=f"expected at most {MAX_SERIES_PER_METRIC}"):
        hub.report(Report(worker="loader-0", attempt=0, sequence=1, totals=totals))
    assert not any(name.startswith(STORAGE_RETRIES.name) for name in hub.snapshot())
    totals.popitem()
    hub.report(Report(worker="loader-0", attempt=0, sequence=1, totals=totals))
    assert hub.snapshot()[str(STORAGE_RETRIES.series(operation="op-7"))] == 1


def test_labelled_counters_add_up_over_workers_by_label() -> None:
    hub = train_hub()
    for worker in ("loader-0", "loader-1"):
        tally = Tally(worker, 0)
        tally.add(STORAGE_RETRIES, 2, operation="read")
        tally.add(STORAGE_RETRIES, operation="list")
        tally.add(STORAGE_RETRIES, operation="read")
        hub.report(tally.report())
    assert hub.snapshot()[str(STORAGE_RETRIES.series(operation="read"))] == 6
    assert hub.snapshot()[str(STORAGE_RETRIES.series(operation="list"))] == 2


def gauge(worker: str, attempt: int, sequence: int, **values: float) -> Report:
    declared = {"loss": TRAIN_LOSS, "step": TRAIN_STEP, "rate": LEARNING_RATE}
    return Report(
        worker=worker, attempt=attempt, sequence=sequence, gauges={declared[name].series(): v for name, v in values.items()}
    )


def test_gauges_combine_as_declared() -> None:
    hub = train_hub()
    hub.report(gauge("trainer-0", 0, 1, loss=1.0, step=10, rate=0.1))
    hub.report(gauge("trainer-1", 0, 1, loss=3.0, step=12, rate=0.2))
    hub.report(gauge("trainer-0", 0, 2, rate=0.3))
    snapshot = hub.snapshot()
    assert snapshot[TRAIN_LOSS.name] == 2.0
    assert snapshot[TRAIN_STEP.name] == 12
    assert snapshot[LEARNING_RATE.name] == 0.3


def test_an_overtaken_report_does_not_bring_an_old_gauge_back() -> None:
    hub = train_hub()
    hub.report(gauge("trainer-0", 0, 5, step=50))
    hub.report(gauge("trainer-0", 0, 4, step=40))
    assert hub.snapshot()[TRAIN_STEP.name] == 50
    hub.report(gauge("trainer-0", 1, 1, step=45))  # resumed from a checkpoint: a gauge may fall
    hub.report(gauge("trainer-0", 0, 6, step=51))
    assert hub.snapshot()[TRAIN_STEP.name] == 45


def test_a_loss_that_is_not_a_number_is_shown_as_such() -> None:
    hub = train_hub()
    hub.report(gauge("trainer-0", 0, 1, loss=math.nan))
    assert math.isnan(hub.snapshot()[TRAIN_LOSS.name])


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_a_committed_counter_never_falls_and_a_committed_gauge_may(values: list[int]) -> None:
    hub = train_hub()
    highest: dict[str, float] = defaultdict(float)
    for value in values:
        hub.set_committed(IMAGES_TRAINED, value)
        hub.set_committed(TARGET_STEPS, value)
        highest[IMAGES_TRAINED.name] = max(highest[IMAGES_TRAINED.name], value)
        assert hub.snapshot()[IMAGES_TRAINED.name] == highest[IMAGES_TRAINED.name]
        assert hub.snapshot()[TARGET_STEPS.name] == value


def test_counters_are_there_from_the_start_and_gauges_only_with_a_value() -> None:
    snapshot = HubState(metrics_of("generate")).snapshot()
    assert snapshot == dict.fromkeys(
        (
            "swissroll_images_generated_total",
            "swissroll_parts_committed_total",
            "swissroll_part_committed_bytes_total",
            "swissroll_rows_committed_total",
            "swissroll_workers_hung_total",
            RESTARTS,
        ),
        0.0,
    )


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report(worker="w", attempt=0, sequence=1, totals={IMAGES_GENERATED.series(): 1}), "expected a metric of this job"),
        (Report(worker="w", attempt=0, sequence=1, totals={IMAGES_TRAINED.series(): 1}), "declared is a counter of committed"),
        (Report(worker="w", attempt=0, sequence=1, totals={TRAIN_LOSS.series(): 1}), "declared is a gauge"),
        (Report(worker="w", attempt=0, sequence=1, gauges={IMAGES_STREAMED.series(): 1}), "declared is a counter"),
        (streamed("w", 0, 1, -1), "got total -1"),
        (streamed("w", 0, 1, math.nan), "got total nan"),
        (
            Report(worker="w", attempt=0, sequence=1, totals={STORAGE_RETRIES.series(operation="r")._replace(labels=()): 1}),
            r"expected the labels \['operation'\]",
        ),
    ],
)
def test_a_wrong_report_is_refused_whole(report: Report, words: str) -> None:
    hub = train_hub()
    before = hub.snapshot()
    good = streamed("w", 0, 1, 7).totals
    with pytest.raises(ValueError, match=words):
        hub.report(Report(worker="w", attempt=0, sequence=1, totals={**good, **report.totals}, gauges=report.gauges))
    assert hub.snapshot() == before


def test_committed_values_are_checked() -> None:
    hub = train_hub()
    with pytest.raises(ValueError, match="declared is a counter of workers"):
        hub.set_committed(IMAGES_STREAMED, 1)
    with pytest.raises(ValueError, match="expected a metric of this job"):
        hub.set_committed(PARTS_COMMITTED, 1)
    with pytest.raises(ValueError, match="finite"):
        hub.set_committed(IMAGES_TRAINED, math.inf)
    with pytest.raises(ValueError, match="got labels"):
        hub.set_committed(JOB_INFO, 1, run="a")


def test_a_tally_counts_sends_totals_and_refuses_what_it_may_not_count() -> None:
    tally = Tally("loader-0", 3)
    tally.add(IMAGES_STREAMED, 64)
    tally.add(IMAGES_STREAMED, 64)
    tally.reach(STORAGE_RETRIES, 5, operation="read")
    tally.reach(STORAGE_RETRIES, 4, operation="read")
    first = tally.report()
    tally.set(TRAIN_LOSS, 0.5)
    second = tally.report()
    assert first.totals == {IMAGES_STREAMED.series(): 128.0, STORAGE_RETRIES.series(operation="read"): 5.0}
    assert (first.gauges, second.gauges) == ({}, {TRAIN_LOSS.series(): 0.5})
    assert (second.worker, second.attempt) == ("loader-0", 3)
    assert second.sequence > first.sequence
    for wrong in (
        lambda: tally.add(IMAGES_TRAINED, 1),
        lambda: tally.add(TRAIN_LOSS, 1),
        lambda: tally.add(IMAGES_STREAMED, -1),
        lambda: tally.reach(IMAGES_STREAMED, math.nan),
        lambda: tally.set(IMAGES_STREAMED, 1),
        lambda: tally.set(TARGET_STEPS, 1),
    ):
        with pytest.raises(ValueError, match=r"^metric swissroll_"):
            wrong()


def test_a_report_survives_the_way_between_processes() -> None:
    tally = Tally("loader-0", 0)
    tally.add(STORAGE_RETRIES, operation="read")
    report = pickle.loads(pickle.dumps(tally.report()))
    hub = train_hub()
    hub.report(report)
    assert hub.snapshot()[str(STORAGE_RETRIES.series(operation="read"))] == 1
