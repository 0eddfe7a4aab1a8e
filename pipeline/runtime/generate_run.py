"""A generation job from plan to published sample set: open parts go to samplers, two at a time each, until none is left."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import ray

from pipeline import storage
from pipeline.errors import NoAnswer, SwissrollError, TransientStorageError
from pipeline.generation import drop_other_copies, keep_checkpoint
from pipeline.plans.generate_plan import GeneratePlan
from pipeline.runtime.asking import HUB, asked
from pipeline.runtime.console import say
from pipeline.runtime.dispatch import Dispatch
from pipeline.runtime.generator import GeneratorArgs
from pipeline.runtime.generator_pool import GeneratorPool
from pipeline.runtime.hub import start_hub
from pipeline.runtime.stopping import stop_on_sigterm
from pipeline.runtime.watch import watched
from pipeline.samples import SampleSet, load_origin, open_ranges
from pipeline.telemetry import (
    GENERATE_METRICS_PORT,
    JOB_INFO,
    TARGET_ROWS,
    ProgressReporter,
)
from pipeline.version import code_version


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOutcome:
    """How a generation job ended, or one output of a sweep."""

    output: str
    """The sample set's folder."""
    rows: int
    """Rows committed, all jobs on this output together."""
    finished: bool
    """Whether the set is complete and published."""
    stopped: bool
    """Whether the job was asked to stop before all parts were tried."""
    made: int
    """Rows this job committed."""
    generated_per_s: float
    """Images a second from the first sampled batch to the last; in a run of two seconds, from the first part handed out."""
    given_up: dict[str, str]
    """Parts that failed too often, by their rows, and why."""
    error: str = ""
    """Of a sweep: what ended the work on this output, or kept it from being begun; empty where nothing did."""


def nothing_made(plan: GeneratePlan, *, stopped: bool = False, error: str = "") -> GenerateOutcome:
    """Returns the outcome for an output that was left as it is.

    Args:
        plan: Its plan; finished if the set is published. With all parts there it may still lack its manifest.
        stopped: Whether the job was asked to stop before it came to this output.
        error: What ended the job before it came to this output.
    """
    return GenerateOutcome(
        output=plan.config.output,
        rows=plan.committed_rows,
        finished=plan.is_published,
        stopped=stopped,
        made=0,
        generated_per_s=0.0,
        given_up={},
        error="" if plan.is_published else error,
    )


def not_made(output: str, error: SwissrollError, rows_before: int | None = None) -> GenerateOutcome:
    """Returns the outcome for an output of a sweep that an error ended.

    Args:
        output: Its folder.
        error: What ended it, or kept it from being begun.
        rows_before: Rows that were committed before this job; None where it committed none.
    """
    rows = rows_before or 0
    is_silent = isinstance(error, TransientStorageError)
    if rows_before is not None or not is_silent:  # a store that did not answer is not waited for where nothing was made
        with contextlib.suppress(SwissrollError):  # then nobody can tell
            rows = sum(part.rows for part in SampleSet(output).committed())
    return GenerateOutcome(
        output=output,
        rows=rows,
        finished=False,
        stopped=False,
        made=0 if rows_before is None else max(0, rows - rows_before),
        generated_per_s=0.0,
        given_up={},
        error=str(error),
    )


def is_done(plan: GeneratePlan) -> bool:
    """Whether the output is published and has nothing that a job would mend or add; takes no lock and writes nothing.

    Where it cannot tell it is False, and the job that holds the output says why.

    Args:
        plan: The output's plan.

    Raises:
        TransientStorageError: The store did not answer.
    """
    if not plan.is_published:
        return False
    try:
        return load_origin(plan.config.output) is not None and SampleSet(plan.config.output).is_whole(plan.config.num_samples)
    except TransientStorageError:
        raise
    except SwissrollError:
        return False


def claim_output(plan: GeneratePlan) -> GeneratePlan:
    """Claims the output for this job and returns the plan with the parts that are still open then.

    While parts are to be made the output keeps a copy of its checkpoint, made before it is claimed: one that is removed
    meanwhile leaves no output behind that cannot go on. Parts that a killed job had written and not yet committed are
    committed now; a set with no open part is published.

    Raises:
        ResumeMismatch: The output belongs to another job.
        CorruptDataError: The checkpoint was removed or changed since it was found.
        StorageError: The output cannot be written.
    """
    c = plan.config
    samples = SampleSet(c.output)
    samples.check(plan.run_spec())
    if plan.open_parts:
        plan = replace(plan, checkpoint=keep_checkpoint(c.output, plan.origin.checkpoint, plan.spec.checkpoint_digest))
    # First where the checkpoint was found: a job killed in between would find a newer one next time, and be refused.
    plan.origin.write(c.output)
    samples.open(plan.run_spec(), num_samples=c.num_samples)
    drop_other_copies(c.output, plan.spec.checkpoint_digest, plan.origin.checkpoint)
    samples.adopt()
    committed = samples.committed()
    parts = open_ranges(c.num_samples, plan.spec.part_rows, committed, c.output)
    if not parts:
        samples.publish(c.num_samples)
    return replace(plan, committed_rows=sum(part.rows for part in committed), open_parts=parts, is_published=not parts)


@contextlib.contextmanager
def cleared_on_error(*clear: Callable[[], None]) -> Iterator[None]:
    """Clears away after an error in the block: a sweep goes on, and the next output's workers need the room, its hub the port.

    Not where something does not answer: Ray itself may be lost, and asked for more it raises, or ends the process, before the
    error is told; no sweep goes on after that.

    Args:
        clear: What is to be called, one after another.
    """
    try:
        yield
    except NoAnswer:
        raise
    except SwissrollError:
        for step in clear:
            step()
        raise


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
        checkpoint=plan.checkpoint,
        spec=plan.spec,
        conditions=c.conditions,
        output=c.output,
        provenance=plan.run_spec(),
        fence=fence,
        hub=started.address,
    )
    pool = GeneratorPool(c, args, len(plan.open_parts))
    dispatch = Dispatch(plan, samples.committed(), pool, hub)
    with (
        cleared_on_error(pool.close, lambda: ray.kill(hub)),
        stop_on_sigterm() as stop,
        watched(hub, ProgressReporter("generate", "image"), dispatch.point, stop),
    ):
        dispatch.run(stop)
    finished = dispatch.queue.finished and not dispatch.queue.given_up
    if finished:
        if fence is not None:
            fence.check()
        samples.publish(c.num_samples)
    return GenerateOutcome(
        output=c.output,
        rows=dispatch.rows,
        finished=finished,
        stopped=not dispatch.queue.finished,
        made=dispatch.rows - plan.committed_rows,
        generated_per_s=(dispatch.pace.per_second() if dispatch.pace else None) or 0.0,
        given_up={f"{part.first}-{part.first + part.rows - 1}": why for part, why in dispatch.queue.given_up.items()},
    )
