"""Which parts are still to be made, which failed and how often, and which are given up: the whole of a run's bookkeeping."""

from collections import Counter, deque
from collections.abc import Iterable

from pipeline.samples import PartRange, PartRecord


class PartQueue:
    """The open parts of a run. It lives in memory only: whoever comes back reads the ledger and makes a new one.

    A worker is at two parts at a time, and when it dies nobody can tell which of them killed it. So a part that was there
    when a worker died is from then on handed out alone: should it be the one, it takes no other with it again.

    Args:
        open_parts: Parts to be made, in order.
        max_failures: Times a part is tried again after it failed.
        max_deaths: Times a part is tried again after its worker died. Most deaths are not the part's fault (a node was
            taken away), so more of them are forgiven.
    """

    def __init__(self, open_parts: Iterable[PartRange], *, max_failures: int, max_deaths: int) -> None:
        self._open = deque(open_parts)
        self._suspects: deque[PartRange] = deque()
        """Open parts that were there when a worker died; after all others, which need not wait for them."""
        self._flying: set[PartRange] = set()
        self._failures: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._max_failures, self._max_deaths = max_failures, max_deaths
        self.given_up: dict[PartRange, str] = {}
        """Parts that are not tried again, each with its last reason."""

    def __len__(self) -> int:
        """Parts that nobody is at work on."""
        return len(self._open) + len(self._suspects)

    @property
    def flying_rows(self) -> int:
        """Rows of the parts that somebody is at work on."""
        return sum(part.rows for part in self._flying)

    def left(self) -> list[PartRange]:
        """Parts neither made nor given up, in order."""
        return sorted({*self._open, *self._suspects, *self._flying}, key=lambda part: part.first)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        return not len(self) and not self._flying

    def take(self, *, beside_another: bool = False) -> PartRange | None:
        """The next part for a worker; None if there is none for it.

        Args:
            beside_another: Whether the worker is at another part already.
        """
        line = self._open if self._open or beside_another else self._suspects
        if not line:
            return None
        part = line.popleft()
        self._flying.add(part)
        return part

    def is_alone(self, part: PartRange) -> bool:
        """Whether the worker that has this part gets no other one meanwhile."""
        return self._deaths[part.first] > 0

    def done(self, part: PartRange, record: PartRecord) -> None:
        """Takes a part off the list; where it turned out to be committed shorter, its other rows become a part."""
        self._flying.discard(part)
        rest = part.first + part.rows - (record.last + 1)
        if rest > 0:
            self._open.appendleft(PartRange(record.last + 1, rest))

    def put_back(self, part: PartRange) -> None:
        """Puts a part back at the head of the line that is not to blame for what happened to its worker."""
        self._flying.discard(part)
        self._line_of(part).appendleft(part)

    def failed(self, part: PartRange, reason: str, *, worker_died: bool = False, hopeless: bool = False) -> bool:
        """Puts a part back at the end of the line, or gives it up; returns whether it will be tried again.

        Args:
            part: What failed.
            reason: One line.
            worker_died: Whether the worker was lost with it, for this part's sake or another's.
            hopeless: Whether trying again cannot help.
        """
        self._flying.discard(part)
        counter, limit = (self._deaths, self._max_deaths) if worker_died else (self._failures, self._max_failures)
        counter[part.first] += 1
        if hopeless or counter[part.first] > limit:
            times = self._failures[part.first] + self._deaths[part.first]
            self.given_up[part] = f"failed {times} time{'s' if times > 1 else ''}, last: {reason}"
            return False
        self._line_of(part).append(part)
        return True

    def give_up_waiting(self, reason: str) -> None:
        """Takes all parts that nobody is at work on off the list for good."""
        for line in (self._open, self._suspects):
            while line:
                self.given_up[line.popleft()] = reason

    def _line_of(self, part: PartRange) -> deque[PartRange]:
        return self._suspects if self.is_alone(part) else self._open
