"""Workers that restart at any moment, whose reports arrive late, twice or never: counts are exact, gauges the last life's."""

from collections import defaultdict

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.telemetry import IMAGES_STREAMED, TRAIN_STEP, HubState, Report, Tally, metrics_of
from pipeline.telemetry.worker_ledger import MAX_OPEN_ATTEMPTS

PLACES = ("loader-0", "loader-1")
RESTARTS = "swissroll_worker_restarts_total"


class Restarts(RuleBasedStateMachine):
    """A hub, workers in two places, and the reports that are on their way to it."""

    @initialize()
    def start(self) -> None:
        self.hub = HubState(metrics_of("train"))
        self.living: dict[str, Tally] = {}
        self.sent: list[Report] = []
        self.arrived: dict[str, dict[int, float]] = {place: {} for place in PLACES}
        self.newest: dict[str, tuple[int, int, float]] = {}
        self.lives: dict[str, int] = defaultdict(int)
        self.before: dict[str, float] = {}
        for place in PLACES:
            self.restart(place)

    @rule(place=st.sampled_from(PLACES))
    def restart(self, place: str) -> None:
        self.living[place] = Tally(place, self.hub.new_attempt(place))
        self.lives[place] += 1

    @rule(place=st.sampled_from(PLACES), images=st.integers(0, 1000), step=st.integers(0, 1000))
    def work(self, place: str, images: int, step: int) -> None:
        self.living[place].add(IMAGES_STREAMED, images)
        self.living[place].set(TRAIN_STEP, step)
        self.sent.append(self.living[place].report())

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), once=st.booleans())
    def arrive(self, data: st.DataObject, once: bool) -> None:
        """Any report, perhaps not for the last time."""
        number = data.draw(st.integers(0, len(self.sent) - 1))
        report = self.sent.pop(number) if once else self.sent[number]
        self.hub.report(report)
        place, attempt = report.worker, report.attempt
        seen = self.arrived[place]
        seen[attempt] = max(seen.get(attempt, 0.0), report.totals[IMAGES_STREAMED.series()])
        stamped = (attempt, report.sequence, report.gauges[TRAIN_STEP.series()])
        self.newest[place] = max(self.newest.get(place, stamped), stamped)

    @invariant()
    def counts_are_those_of_all_lives_and_gauges_those_of_the_last(self) -> None:
        if max(self.lives.values()) > MAX_OPEN_ATTEMPTS:
            return  # the oldest lives may be closed by now, see below
        now = self.hub.snapshot()
        assert now[IMAGES_STREAMED.name] == sum(total for lives in self.arrived.values() for total in lives.values())
        assert now[RESTARTS] == sum(max(0, len(lives) - 1) for lives in self.arrived.values())
        if self.newest:
            assert now[TRAIN_STEP.name] == max(step for _, _, step in self.newest.values())

    @invariant()
    def counts_never_fall(self) -> None:
        now = self.hub.snapshot()
        for name in (IMAGES_STREAMED.name, RESTARTS):
            assert now[name] >= self.before.get(name, 0.0)
        self.before = now


TestRestarts = Restarts.TestCase


def test_every_new_life_counts_however_many_there_were() -> None:
    hub = HubState(metrics_of("train"))
    late: list[Report] = []
    for life in range(1, 3 * MAX_OPEN_ATTEMPTS):
        tally = Tally("loader-0", hub.new_attempt("loader-0"))
        tally.add(IMAGES_STREAMED, 3)
        tally.set(TRAIN_STEP, life)
        late.append(tally.report())
        hub.report(late[-1])
        hub.report(late[0])
        now = hub.snapshot()
        assert (now[IMAGES_STREAMED.name], now[RESTARTS], now[TRAIN_STEP.name]) == (3 * life, life - 1, life)
