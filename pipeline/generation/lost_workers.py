"""Workers that are lost one after another: a few parts that kill theirs, or something that ails all of them."""

from collections.abc import Iterable

from pipeline.samples import PartRange


class LostWorkers:
    """Counts the workers that were lost in a row, without a part done in between.

    One that was lost at a part which it had alone counts against that part, and the part is given up in the end; only when more
    parts do so than may be given up is it no fault of theirs.

    Args:
        max_parts: Parts that may be given up.
    """

    def __init__(self, max_parts: int) -> None:
        self._max_parts = max_parts
        self._parts: set[PartRange] = set()
        self.in_a_row = 0
        """Workers lost that no single part answers for."""
        self.before_any = 0
        """Workers lost before any part was made at all."""
        self._any_made = False

    def done(self) -> None:
        """Notes that a part was made."""
        self._any_made = True
        self._parts.clear()
        self.in_a_row = 0

    def lost(self, part: PartRange | None = None) -> None:
        """Notes that a worker was lost.

        Args:
            part: What is known to have done it; None where that is not known, or where it never came up.
        """
        if not self._any_made:
            self.before_any += 1
        if part is not None:
            self._parts.add(part)
        if part is None or len(self._parts) > self._max_parts:
            self.in_a_row += 1

    def are_lost_by(self, left: Iterable[PartRange]) -> bool:
        """Whether each of the parts that are left has lost a worker which had nothing else, and none was ever made.

        Then there is nothing that could go on while these are tried again and again. As long as one has not been tried by
        itself, it may be a good one that died with another.
        """
        left = set(left)
        return not self._any_made and bool(left) and left <= self._parts
