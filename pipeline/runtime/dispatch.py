"""Handing the open parts of a run to its samplers, two at a time each, until none is left."""

import time
from typing import NamedTuple

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from pipeline.errors import CommitConflict, ConfigError, CorruptDataError, PermanentStorageError, SwissrollError
from pipeline.generation import LostWorkers, PartDeadline, PartQueue
from pipeline.plans.generate_plan import GeneratePlan
from pipeline.runtime.asking import HUB_TIMEOUT_S
from pipeline.runtime.generator_pool import CALLS_PER_WORKER, START_LIMIT_S, GeneratorPool, Worker
from pipeline.runtime.hub import HubView, value_of
from pipeline.runtime.own_node import check_own_node
from pipeline.runtime.stopping import StopRequest
from pipeline.samples import PartRange, PartRecord
from pipeline.telemetry import (
    IMAGES_GENERATED,
    PART_COMMITTED_BYTES,
    PARTS_COMMITTED,
    ROWS_COMMITTED,
    WORKERS_HUNG,
    ProgressPoint,
    RateWindow,
    RunRate,
)

RECENT_S = 10.0
"""What the progress bar's rate looks back on."""
NODE_LOOK_EVERY_S = 5.0
MAX_DEATHS = 10
"""Times a part is tried again after the worker that was at it died."""
MAX_DEATHS_IN_A_ROW = 20
"""Workers that may die or not start, one after another without a part done in between and no single part to blame; twice their
number where that is more, as a node may take all of them with it."""
MAX_DEATHS_BEFORE_ANY, DEATHS_OF_EACH_PLACE = 10, 5
"""Workers that may die before any part is made, in all or for each of their places, once every open part has killed one that
had nothing else: fewer than these parts' own retries, which on one worker take an hour for ten parts. While there is an open
part that has not, or after any part that this job made, the job goes on: nodes may have been taken away."""
_PARTS_NAMED = 10
_PERMANENT = (ConfigError, CorruptDataError, PermanentStorageError, CommitConflict)


class _Call(NamedTuple):
    """A part that a worker is at."""

    part: PartRange
    worker: Worker
    actor: ActorHandle
    """Not the worker's any more once it is made anew."""
    began_s: float
    """By the deadline's clock."""
    calls: int
    """Of those that the worker takes: all of them for a part that it has alone."""

    @property
    def is_alone(self) -> bool:
        """Whether the worker has no other part, so that what becomes of it is this one's doing."""
        return self.calls == CALLS_PER_WORKER


class Dispatch:
    """Which part is where; the driver's only state, rebuilt from storage when the job comes back.

    Args:
        plan: What is to be made.
        committed: The parts there are.
        pool: The workers; they outlive this.
        hub: The job's hub.
    """

    def __init__(self, plan: GeneratePlan, committed: list[PartRecord], pool: GeneratorPool, hub: ActorHandle) -> None:
        self._plan, self._pool, self._hub = plan, pool, hub
        self.queue = PartQueue(plan.open_parts, max_failures=plan.config.max_part_failures, max_deaths=MAX_DEATHS)
        self._deadline = PartDeadline(plan.config.part_timeout_s, plan.spec.part_rows, plan.spec.batch_rows)
        self._flying: dict[ObjectRef, _Call] = {}
        """Those of each worker in the order in which it works on them."""
        self._images = self._hung = 0
        self._parts, self._bytes = len(committed), sum(record.size_bytes for record in committed)
        self.rows = sum(record.rows for record in committed)
        self.pace: RunRate | None = None
        """Of images; there from the first part that is handed out."""
        self._recent = RateWindow(RECENT_S)
        self._began_s = self._node_looked_s = 0.0
        self._lost = LostWorkers(plan.config.max_failed_parts)

    def run(self, stop: StopRequest) -> None:
        """Hands out parts until none is open or the job is asked to stop.

        Raises:
            SwissrollError: Something that concerns all parts, such as a full disk, or more parts failed than allowed.
        """
        self._say_committed()
        while not self.queue.finished and not stop.is_set():
            self._look_around()
            while (worker := self._pool.idle()) is not None and (part := self.queue.take(beside_another=worker.calls > 0)):
                self._hand_out(part, worker)
            waiting = [*self._flying, *self._pool.starting()]
            if not waiting:
                time.sleep(0.1)  # all workers are dead, and have to wait before they are made anew
                continue
            for ref in ray.wait(waiting, timeout=0.5)[0]:
                if ref in self._flying:
                    self._landed(ref)
                elif (error := self._pool.started(ref)) is not None:
                    self._hub.say.remote(f"warning: a worker did not start ({_reason(error)})")
                    self._lost.lost()
                    self._check_lost(_reason(error))

    def _hand_out(self, part: PartRange, worker: Worker) -> None:
        if self.pace is None:
            self._began_s = time.monotonic()
            self.pace = RunRate(self._began_s)
        calls = CALLS_PER_WORKER if self.queue.is_alone(part) else 1
        worker.calls += calls
        ref = worker.actor.make_part.remote(part)
        self._flying[ref] = _Call(part, worker, worker.actor, self._deadline.clock_s, calls)

    def _look_around(self) -> None:
        """Follows the cluster, and takes workers that hang for lost."""
        if time.monotonic() - self._node_looked_s > NODE_LOOK_EVERY_S:
            check_own_node()
            self._node_looked_s = time.monotonic()
        self._deadline.look(time.monotonic(), self._images)
        for ref, call in list(self._flying.items()):
            if ref in self._flying and self._deadline.overdue(call.began_s) and not _answered(ref):
                self._hangs(ref)
        for name in self._pool.late():
            why = "there is no room for it, or it hangs"
            self._hub.say.remote(f"warning: {name} has not come up in {START_LIMIT_S:.0f} s: {why}; it is made anew")
        self._pool.look_around(len(self.queue))

    def point(self, view: HubView) -> ProgressPoint | None:
        """Returns where the job is, for the progress bar; None until the first images are there.

        Images count when they are sampled, but no part counts for more than its rows, and 100% is committed.
        """
        now, generated = time.monotonic(), int(value_of(view.values, IMAGES_GENERATED.series()))
        self._images = generated
        self._recent.observe(now, generated)
        if not generated or self.pace is None:
            return None
        self.pace.observe(now, generated)
        images_per_s = (self._recent if now - self._began_s > RECENT_S else self.pace).per_second()
        total, rows = self._plan.config.num_samples, self.rows
        sampled = min(self._plan.committed_rows + generated, rows + self.queue.flying_rows, total - 1)
        return ProgressPoint(done=min(total, max(rows, sampled)), total=total, images_per_s=images_per_s)

    def _landed(self, ref: ObjectRef) -> None:
        call = self._flying.pop(ref)
        part, worker = call.part, call.worker
        if worker.actor is call.actor:
            worker.calls -= call.calls
        try:
            record: PartRecord = ray.get(ref, timeout=HUB_TIMEOUT_S)
        except RayError as error:
            self._failed(call, error)
            return
        worker.deaths = 0
        self._lost.done()
        self._deadline.completed(part.rows, call.began_s)
        self.queue.done(part, record)
        self._parts, self._bytes, self.rows = self._parts + 1, self._bytes + record.size_bytes, self.rows + record.rows
        self._say_committed()

    def _say_committed(self) -> None:
        for metric, value in (
            (PARTS_COMMITTED, self._parts),
            (PART_COMMITTED_BYTES, self._bytes),
            (ROWS_COMMITTED, self.rows),
        ):
            self._hub.commit.remote(metric.name, value)

    def _failed(self, call: _Call, error: RayError) -> None:
        """Puts a part back or gives it up; stops the job for what concerns every part."""
        died = not isinstance(error, RayTaskError)
        cause = getattr(error, "cause", None)
        # A foreign file under a part's name concerns that part alone.
        hopeless = isinstance(cause, CorruptDataError) and cause.uri.startswith(f"{self._plan.config.output}/data/")
        if isinstance(cause, _PERMANENT) and not hopeless:
            raise cause
        reason = str(cause) if isinstance(cause, SwissrollError) else _reason(error)
        if died and self._pool.died(call.worker, call.actor):  # the others that a worker was at fail one by one
            self._lost.lost(call.part if call.is_alone else None)
        self._put_back(call.part, reason, worker_died=died, hopeless=hopeless)
        self._check_lost(reason)

    def _hangs(self, ref: ObjectRef) -> None:
        """Kills a worker that does not answer and gives what it was at to others; should it wake up, it commits the same.

        The part that it hangs in is its oldest. Another one waits behind that, or is held up with it: it is not to blame.
        """
        part, worker, actor, began_s, _ = self._flying.pop(ref)
        for other in [other for other, call in self._flying.items() if call.actor is actor and not _answered(other)]:
            self.queue.put_back(self._flying.pop(other).part)
        waited_s, limit_s = self._deadline.waited_s(began_s), self._deadline.limit_s
        reason = f"no answer from {worker.name} in {waited_s:.0f} s, expected one in {limit_s:.0f} s: it hung and was killed"
        if self._pool.died(worker, actor):
            self._hung += 1
            self._hub.commit.remote(WORKERS_HUNG.name, self._hung)
        # A failure and not a death: one that hangs worker after worker is found out in a few tries, each of them long.
        self._lost.lost(part)
        self._put_back(part, reason, worker_died=False, hopeless=False)
        self._check_lost(reason)

    def _put_back(self, part: PartRange, reason: str, *, worker_died: bool, hopeless: bool) -> None:
        """Has a part tried again, or gives it up where it failed too often."""
        again = self.queue.failed(part, reason, worker_died=worker_died, hopeless=hopeless)
        rows = f"rows {part.first} to {part.first + part.rows - 1}"
        self._hub.say.remote(f"warning: {rows} failed ({reason}); {'trying again' if again else 'given up'}")
        if len(self.queue.given_up) > self._plan.config.max_failed_parts:
            raise SwissrollError(f"{len(self.queue.given_up)} parts failed for good, the last one: {rows}: {reason}")

    def _check_lost(self, reason: str) -> None:
        most = max(MAX_DEATHS_BEFORE_ANY, DEATHS_OF_EACH_PLACE * self._pool.places)
        if self._lost.before_any > most and self._lost.are_lost_by(left := self.queue.left()):
            if len(left) + len(self.queue.given_up) <= self._plan.config.max_failed_parts:
                self.queue.give_up_waiting(f"took a worker with it that had nothing else to do, last: {reason}")
                return  # those that somebody is at come here again
            named = ", ".join(f"{part.first} to {part.first + part.rows - 1}" for part in left[:_PARTS_NAMED])
            more = f" and {len(left) - _PARTS_NAMED} more parts" if len(left) > _PARTS_NAMED else ""
            raise SwissrollError(
                f"{self._lost.before_any} workers died or hung and this job made no part: each of the {len(left)} open parts "
                f"took one with it that had nothing else to do (rows {named}{more}); the last: {reason}"
            )
        if self._lost.in_a_row > max(MAX_DEATHS_IN_A_ROW, 2 * self._pool.places):
            raise SwissrollError(f"{self._lost.in_a_row} workers died in a row and no part was made; the last: {reason}")


def _answered(ref: ObjectRef) -> bool:
    return bool(ray.wait([ref], timeout=0)[0])


def _reason(error: RayError) -> str:
    """The last line, which has the cause; what comes before is where."""
    return str(error).strip().rpartition("\n")[2]
