"""A generation job from plan to published sample set: open parts go to samplers, two at a time each, until none is left."""

import os
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import cast

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from pipeline.errors import CommitConflict, ConfigError, CorruptDataError, PermanentStorageError, SwissrollError
from pipeline.plans.generate_plan import GeneratePlan
from pipeline.runtime.console import say
from pipeline.runtime.generator import Generator, GeneratorArgs
from pipeline.runtime.hub import HubAddress, HubView, start_hub, value_of
from pipeline.runtime.session import fitting_cpus, total
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
)
from pipeline.version import code_version

CALLS_PER_WORKER = 2  # one samples while the other encodes and commits
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
    """Images a second from the first sampled batch to the last."""


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
    samples.adopt()
    committed = samples.committed()
    parts = open_ranges(c.num_samples, plan.spec.part_rows, committed, c.output)
    if not parts:
        samples.publish(c.num_samples)
    return replace(plan, committed_rows=sum(part.rows for part in committed), open_parts=parts)


def run_generation(plan: GeneratePlan) -> GenerateOutcome:
    """Makes all open parts of a claimed output and publishes the set, or stops in between on SIGTERM; prints progress.

    Ray must be connected.

    Raises:
        SwissrollError: What stopped the job; committed parts stay.
    """
    c = plan.config
    started = start_hub("generate", c.metrics_port, GENERATE_METRICS_PORT)
    hub = started.handle
    say(f"metrics: {started.metrics_url}")
    samples = SampleSet(c.output)
    labels = {"job_kind": "generate", "run": c.output.rpartition("/")[2], "preset": "", "version": code_version()}
    ray.get([hub.commit.remote(JOB_INFO.name, 1, labels), hub.commit.remote(TARGET_ROWS.name, c.num_samples)])
    workers = _start_workers(plan, started.address)
    dispatch = _Dispatch(plan, samples.committed(), workers, hub)
    with stop_on_sigterm() as stop, watched(hub, ProgressReporter("generate", "row"), dispatch.point, stop):
        dispatch.run(stop)
    finished = dispatch.rows == c.num_samples
    if finished:
        samples.publish(c.num_samples)
    return GenerateOutcome(
        rows=dispatch.rows,
        finished=finished,
        made=dispatch.rows - plan.committed_rows,
        generated_per_s=dispatch.pace.per_second() or 0.0,
    )


def _start_workers(plan: GeneratePlan, hub: HubAddress) -> list[ActorHandle]:
    c = plan.config
    gpus = int(total("GPU")) if c.accelerator in ("auto", "gpu") else 0
    if c.accelerator == "gpu" and not gpus:
        raise ConfigError("accelerator is gpu, but the cluster has no GPU; expected at least one")
    wanted = c.num_workers or gpus or max(1, int(total("CPU")) or os.cpu_count() or 1)
    count = min(wanted, len(plan.open_parts))
    factor = fitting_cpus([(count, 1.0)], share=True)
    actor = ray.remote(Generator).options(
        num_cpus=factor, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=0, max_concurrency=CALLS_PER_WORKER
    )
    args = GeneratorArgs(
        name="generator",
        checkpoint=plan.checkpoint,
        spec=plan.spec,
        output=c.output,
        provenance=plan.run_spec(),
        threads=1,
        hub=hub,
    )
    return [cast(ActorHandle, actor.remote(replace(args, name=f"generator-{i}"))) for i in range(count)]


class _Dispatch:
    """Which part is where; the driver's only state, rebuilt from storage when the job comes back."""

    def __init__(self, plan: GeneratePlan, committed: list[PartRecord], workers: list[ActorHandle], hub: ActorHandle) -> None:
        self._plan, self._workers, self._hub = plan, workers, hub
        self._open = deque(plan.open_parts)
        self._failures: Counter[PartRange] = Counter()
        self._parts, self._bytes = len(committed), sum(record.size_bytes for record in committed)
        self.rows = sum(record.rows for record in committed)
        self.pace = RateWindow(1e9)
        self._recent = RateWindow(10.0)

    def run(self, stop: StopRequest) -> None:
        """Hands out parts until none is open or the job is asked to stop.

        Raises:
            SwissrollError: A part failed for good, or more often than allowed.
        """
        flying: dict[ObjectRef, tuple[PartRange, ActorHandle]] = {}
        idle = deque(worker for _ in range(CALLS_PER_WORKER) for worker in self._workers)
        self._committed(None)
        while (self._open or flying) and not stop.is_set():
            while self._open and idle:
                part, worker = self._open.popleft(), idle.popleft()
                flying[worker.make_part.remote(part)] = part, worker
            ready, _ = ray.wait(list(flying), timeout=0.5)
            for ref in ready:
                part, worker = flying.pop(ref)
                idle.append(worker)
                try:
                    self._committed(ray.get(ref))
                except RayError as error:
                    self._failed(part, error)

    def point(self, view: HubView) -> ProgressPoint | None:
        """Returns where the job is, for the progress bar; None until the first images are there."""
        now, generated = time.monotonic(), value_of(view.values, IMAGES_GENERATED.series())
        self._recent.observe(now, generated)
        if not generated:
            return None
        self.pace.observe(now, generated)
        return ProgressPoint(done=self.rows, total=self._plan.config.num_samples, images_per_s=self._recent.per_second())

    def _committed(self, record: PartRecord | None) -> None:
        if record is not None:
            self._parts, self._bytes, self.rows = self._parts + 1, self._bytes + record.size_bytes, self.rows + record.rows
        for metric, value in (
            (PARTS_COMMITTED, self._parts),
            (PART_COMMITTED_BYTES, self._bytes),
            (ROWS_COMMITTED, self.rows),
        ):
            self._hub.commit.remote(metric.name, value)

    def _failed(self, part: PartRange, error: RayError) -> None:
        """Puts a part back, or gives up: at once where no retry helps, otherwise after the allowed number of failures."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, _PERMANENT):
            raise cause
        self._failures[part] += 1
        last_line = str(error).strip().rpartition("\n")[2]
        if self._failures[part] > self._plan.config.max_part_failures:
            raise SwissrollError(
                f"rows {part.first} to {part.first + part.rows - 1} failed {self._failures[part]} times, last: {last_line}"
            ) from error
        self._hub.say.remote(f"warning: rows from {part.first} failed ({last_line}); trying again")
        self._open.append(part)
