"""A generation job from plan to published sample set: open parts go to samplers, two at a time each, until none is left."""

import time
from dataclasses import dataclass, replace

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from pipeline import storage
from pipeline.errors import CommitConflict, ConfigError, CorruptDataError, PermanentStorageError, SwissrollError
from pipeline.generation import PartQueue
from pipeline.plans.generate_plan import GeneratePlan
from pipeline.runtime.asking import HUB, HUB_TIMEOUT_S, asked
from pipeline.runtime.console import say
from pipeline.runtime.generator import GeneratorArgs
from pipeline.runtime.generator_pool import GeneratorPool, Worker
from pipeline.runtime.hub import HubView, start_hub, value_of
from pipeline.runtime.stopping import StopRequest, stop_on_sigterm
from pipeline.runtime.watch import watched
from pipeline.samples import PartRange, PartRecord, SampleSet, open_ranges
from pipeline.telemetry import (
    GENERATE_METRICS_PORT,
    IMAGES_GENERATED,
    JOB_INFO,
    PART_COMMITTED_BYTES,
    PARTS_COMMITTED,
    ROWS_COMMITTED,
    TARGET_ROWS,
    ProgressPoint,
    ProgressReporter,
    RateWindow,
    RunRate,
)
from pipeline.version import code_version

RECENT_S = 10.0
"""What the progress bar's rate looks back on."""
MAX_DEATHS = 10
"""Times a part is tried again after the worker that was at it died."""
MAX_DEATHS_IN_A_ROW = 20
"""Workers that may die, one after another, without a part done in between."""
_PERMANENT = (ConfigError, CorruptDataError, PermanentStorageError, CommitConflict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOutcome:
    """How a generation job ended."""

    rows: int
    """Rows committed, all jobs on this output together."""
    finished: bool
    """Whether the set is complete and published."""
    made: int
    """Rows this job committed."""
    generated_per_s: float
    """Images a second from the first sampled batch to the last; in a run of two seconds, from the first part handed out."""
    given_up: dict[str, str]
    """Parts that failed too often, by their rows, and why."""


def claim_output(plan: GeneratePlan) -> GeneratePlan:
    """Claims the output for this job and returns the plan with the parts that are still open then.

    Parts that a killed job had written and not yet committed are committed now; a set with no open part is published.

    Raises:
        ResumeMismatch: The output belongs to another job.
        StorageError: The output cannot be written.
    """
    c = plan.config
    samples = SampleSet(c.output)
    samples.open(plan.run_spec(), num_samples=c.num_samples)
    plan.origin.write(c.output)
    samples.adopt()
    committed = samples.committed()
    parts = open_ranges(c.num_samples, plan.spec.part_rows, committed, c.output)
    if not parts:
        samples.publish(c.num_samples)
    return replace(plan, committed_rows=sum(part.rows for part in committed), open_parts=parts)


def run_generation(plan: GeneratePlan, fence: storage.Fence | None) -> GenerateOutcome:
    """Makes all open parts of a claimed output and publishes the set, or stops in between on SIGTERM; prints progress.

    Ray must be connected. A part that fails too often is given up, and the others go on.

    Args:
        plan: What is to be made.
        fence: The lease on the output, where it has one.

    Raises:
        SwissrollError: What stopped the job; committed parts stay.
    """
    c = plan.config
    started = start_hub("generate", c.metrics_port, GENERATE_METRICS_PORT)
    hub = started.handle
    say(f"metrics: {started.metrics_url}")
    samples = SampleSet(c.output)
    labels = {"job_kind": "generate", "run": c.output.rpartition("/")[2], "preset": "", "version": code_version()}
    asked([hub.commit.remote(JOB_INFO.name, 1, labels), hub.commit.remote(TARGET_ROWS.name, c.num_samples)], HUB)
    args = GeneratorArgs(
        name="",
        checkpoint=plan.origin.checkpoint,
        spec=plan.spec,
        conditions=c.conditions,
        output=c.output,
        provenance=plan.run_spec(),
        fence=fence,
        hub=started.address,
    )
    dispatch = _Dispatch(plan, samples.committed(), GeneratorPool(c, args, len(plan.open_parts)), hub)
    with stop_on_sigterm() as stop, watched(hub, ProgressReporter("generate", "image"), dispatch.point, stop):
        dispatch.run(stop)
    finished = dispatch.queue.finished and not dispatch.queue.given_up
    if finished:
        if fence is not None:
            fence.check()
        samples.publish(c.num_samples)
    return GenerateOutcome(
        rows=dispatch.rows,
        finished=finished,
        made=dispatch.rows - plan.committed_rows,
        generated_per_s=(dispatch.pace.per_second() if dispatch.pace else None) or 0.0,
        given_up={f"{part.first}-{part.first + part.rows - 1}": why for part, why in dispatch.queue.given_up.items()},
    )


class _Dispatch:
    """Which part is where; the driver's only state, rebuilt from storage when the job comes back."""

    def __init__(self, plan: GeneratePlan, committed: list[PartRecord], pool: GeneratorPool, hub: ActorHandle) -> None:
        self._plan, self._pool, self._hub = plan, pool, hub
        self.queue = PartQueue(plan.open_parts, max_failures=plan.config.max_part_failures, max_deaths=MAX_DEATHS)
        self._flying: dict[ObjectRef, tuple[PartRange, Worker, ActorHandle]] = {}
        self._parts, self._bytes = len(committed), sum(record.size_bytes for record in committed)
        self.rows = sum(record.rows for record in committed)
        self.pace: RunRate | None = None
        """Of images; there from the first part that is handed out."""
        self._recent = RateWindow(RECENT_S)
        self._began_s = 0.0
        self._deaths_in_a_row = 0

    def run(self, stop: StopRequest) -> None:
        """Hands out parts until none is open or the job is asked to stop.

        Raises:
            SwissrollError: Something that concerns all parts, such as a full disk, or more parts failed than allowed.
        """
        self._say_committed()
        while not self.queue.finished and not stop.is_set():
            self._pool.look_around(len(self.queue))
            while len(self.queue) and (worker := self._pool.idle()) is not None:
                part = self.queue.take()
                assert part is not None
                if self.pace is None:
                    self._began_s = time.monotonic()
                    self.pace = RunRate(self._began_s)
                worker.calls += 1
                self._flying[worker.actor.make_part.remote(part)] = part, worker, worker.actor
            waiting = [*self._flying, *self._pool.starting()]
            if not waiting:
                time.sleep(0.1)  # all workers are dead, and have to wait before they are made anew
                continue
            for ref in ray.wait(waiting, timeout=0.5)[0]:
                if ref in self._flying:
                    self._landed(ref)
                else:
                    self._pool.started(ref)

    def point(self, view: HubView) -> ProgressPoint | None:
        """Returns where the job is, for the progress bar; None until the first images are there.

        Images count when they are sampled, but no part counts for more than its rows, and 100% is committed.
        """
        now, generated = time.monotonic(), int(value_of(view.values, IMAGES_GENERATED.series()))
        self._recent.observe(now, generated)
        if not generated or self.pace is None:
            return None
        self.pace.observe(now, generated)
        images_per_s = (self._recent if now - self._began_s > RECENT_S else self.pace).per_second()
        total, rows = self._plan.config.num_samples, self.rows
        sampled = min(self._plan.committed_rows + generated, rows + self.queue.flying_rows, total - 1)
        return ProgressPoint(done=min(total, max(rows, sampled)), total=total, images_per_s=images_per_s)

    def _landed(self, ref: ObjectRef) -> None:
        part, worker, actor = self._flying.pop(ref)
        if worker.actor is actor:
            worker.calls -= 1
        try:
            record: PartRecord = ray.get(ref, timeout=HUB_TIMEOUT_S)
        except RayError as error:
            self._failed(part, worker, actor, error)
            return
        worker.deaths = self._deaths_in_a_row = 0
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

    def _failed(self, part: PartRange, worker: Worker, actor: ActorHandle, error: RayError) -> None:
        """Puts a part back or gives it up; stops the job for what concerns every part."""
        died = not isinstance(error, RayTaskError)
        cause = getattr(error, "cause", None)
        # A foreign file under a part's name concerns that part alone.
        hopeless = isinstance(cause, CorruptDataError) and cause.uri.startswith(f"{self._plan.config.output}/data/")
        if isinstance(cause, _PERMANENT) and not hopeless:
            raise cause
        reason = str(cause) if isinstance(cause, SwissrollError) else str(error).strip().rpartition("\n")[2]
        if died:
            self._deaths_in_a_row += 1
            self._pool.died(worker, actor)
        again = self.queue.failed(part, reason, worker_died=died, hopeless=hopeless)
        rows = f"rows {part.first} to {part.first + part.rows - 1}"
        self._hub.say.remote(f"warning: {rows} failed ({reason}); {'trying again' if again else 'given up'}")
        if len(self.queue.given_up) > self._plan.config.max_failed_parts:
            raise SwissrollError(f"{len(self.queue.given_up)} parts failed for good, the last one: {rows}: {reason}")
        if self._deaths_in_a_row > MAX_DEATHS_IN_A_ROW:
            raise SwissrollError(f"{self._deaths_in_a_row} workers died in a row and no part was made; the last: {reason}")
