"""When a worker that does not answer is taken for stuck: after many times what parts take here, and never soon."""

import math

SLOWEST_PARTS = 10
"""How many times the slowest part so far a part may take."""
FIRST_PART_S = 3600.0
"""What a part may take before any is made: in the first one a checkpoint is fetched and a network may be compiled."""
LONGEST_LOOK_S = 10.0
"""Most that the time between two looks counts for: who was asleep (a suspended machine) has not waited."""


class PartDeadline:
    """How long a run waits for the answer of a worker, which may hang without dying: in a call to its GPU, in a mount whose
    server is gone. All times are seconds of this object's own clock, which runs while it is looked at.

    Args:
        floor_s: Seconds that every part may take.
        part_rows: Rows of a full part.
        batch_rows: Images sampled at a time.
    """

    def __init__(self, floor_s: float, part_rows: int, batch_rows: int) -> None:
        self._floor_s, self._batch_rows = floor_s, batch_rows
        self._full_batches = math.ceil(part_rows / batch_rows)
        self._looked_s: float | None = None
        self._images, self._moved_s = 0, 0.0
        self._slowest_s: float | None = None
        self.clock_s = 0.0
        """Seconds since the first look; what a call's beginning is noted in."""

    def look(self, monotonic_s: float, images: int) -> None:
        """Moves the clock.

        Args:
            monotonic_s: Now.
            images: Images that all workers together have sampled.
        """
        if self._looked_s is not None:
            self.clock_s += min(LONGEST_LOOK_S, monotonic_s - self._looked_s)
        self._looked_s = monotonic_s
        if images != self._images:
            self._images, self._moved_s = images, self.clock_s

    def completed(self, rows: int, began_s: float) -> None:
        """Learns from a part that is made what parts take, the wait behind another part of the same worker included.

        Args:
            rows: Of the part; a short one counts for what a full one would have taken, in batches.
            began_s: When it was handed out.
        """
        full_s = (self.clock_s - began_s) * self._full_batches / math.ceil(rows / self._batch_rows)
        self._slowest_s = max(self._slowest_s or 0.0, full_s)

    @property
    def limit_s(self) -> float:
        """Seconds that a part may take now."""
        return max(self._floor_s, FIRST_PART_S if self._slowest_s is None else SLOWEST_PARTS * self._slowest_s)

    def waited_s(self, began_s: float) -> float:
        """Seconds that a call has been waited for; before any part is made, seconds without any new image.

        Args:
            began_s: When the part was handed out.
        """
        return self.clock_s - (max(began_s, self._moved_s) if self._slowest_s is None else began_s)

    def overdue(self, began_s: float) -> bool:
        """Whether a call has been waited for longer than parts take."""
        return self.waited_s(began_s) > self.limit_s
