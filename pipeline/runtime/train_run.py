"""A training job from plan to result."""

import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import ray
import ray.train
import ray.train.torch
from ray.exceptions import RayActorError, RayTaskError

from pipeline import storage
from pipeline.checkpoints import checkpoint_urls, latest_good, read_record
from pipeline.errors import NoAnswer, SwissrollError, TransientStorageError
from pipeline.plans.run_folder import write_run_config
from pipeline.plans.train_plan import TrainPlan
from pipeline.runtime.asking import HUB, asked
from pipeline.runtime.console import say
from pipeline.runtime.cpu_shares import fitting_cpus
from pipeline.runtime.hub import start_hub
from pipeline.runtime.loader import LoaderArgs, report_all, start_loaders
from pipeline.runtime.own_node import check_own_node
from pipeline.runtime.quarantine import start_quarantine
from pipeline.runtime.session import total
from pipeline.runtime.stopping import stop_on_sigterm
from pipeline.runtime.train_pace import TrainPace
from pipeline.runtime.train_start import say_which_loaders_are_missing, trainers_awaited
from pipeline.runtime.trainer import TrainerArgs, run_trainer
from pipeline.runtime.trainers_room import trainers_room
from pipeline.runtime.watch import watched
from pipeline.stream import QUARANTINE_NAME
from pipeline.telemetry import JOB_INFO, TARGET_STEPS, TRAIN_METRICS_PORT, ProgressReporter
from pipeline.version import code_version


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOutcome:
    """How a training job ended."""

    step: int
    """Steps done, all jobs on this run folder together."""
    finished: bool
    """Whether all steps are done; False when the job was asked to stop."""
    checkpoint: str
    """URL of the newest checkpoint."""
    images: int
    """Images trained on by this job."""
    streamed_per_s: float
    """Images a second that loaders decoded, from the first step to the last."""
    trained_per_s: float
    """Images a second that were trained on, from the first step to the last."""
    wait_share: float
    """Share of the trainers' time spent waiting for data."""


def finished_step(plan: TrainPlan) -> int | None:
    """Returns the step of the run's newest good checkpoint if that is already the end of the run, else None."""
    url = latest_good(plan.config.run_dir)
    if url is None:
        return None
    step = read_record(url).step
    return step if step >= plan.config.steps else None


def run_training(plan: TrainPlan, fence: storage.Fence | None) -> TrainOutcome:
    """Runs a training job to its end or until SIGTERM; prints progress. Ray must be connected.

    Args:
        plan: What is to be trained.
        fence: The lease on the run's folder, where it has one: a job that slept past it writes nothing more.

    Raises:
        CommitConflict: Another job took the run's folder over.
        SwissrollError: What stopped the job, in the words of the process it happened in.
        ray.train.TrainingFailedError: Workers died more often than the configuration allows.
    """
    c = plan.config
    started = start_hub("train", c.metrics_port, TRAIN_METRICS_PORT)
    hub = started.handle
    say(f"metrics: {started.metrics_url}")
    if fence is not None:
        fence.check()  # connecting may have taken long
    write_run_config(c.run_dir, plan.identity, c.to_json())
    first_step = _newest_step(c.run_dir)
    labels = {"job_kind": "train", "run": c.run_dir.rpartition("/")[2], "preset": c.preset, "version": code_version()}
    asked([hub.commit.remote(JOB_INFO.name, 1, labels), hub.commit.remote(TARGET_STEPS.name, c.steps)], HUB)
    gpu = c.workers.accelerator == "gpu" or (c.workers.accelerator == "auto" and total("GPU") >= c.workers.num_workers)
    if not gpu and c.workers.accelerator == "auto" and total("GPU"):
        say(f"note: trainers run on CPUs, as there are {c.workers.num_workers} and {total('GPU'):g} GPUs; see --num-workers")
    factor = fitting_cpus(
        [(c.workers.num_workers, c.workers.cpus_per_worker), (c.workers.num_loaders, c.workers.cpus_per_loader)],
        c.workers.share_cpus,
    )
    keeper, quarantine = start_quarantine(
        storage.join(c.run_dir, QUARANTINE_NAME), c.stream.corrupt_allowed(plan.index.num_samples), started.address, fence
    )
    resources = {"CPU": c.workers.cpus_per_worker * factor} | ({"GPU": 1} if gpu else {})
    with trainers_room(c.workers.num_workers, resources) as beside:
        loaders = start_loaders(
            c.workers.num_loaders,
            c.workers.cpus_per_loader * factor,
            LoaderArgs(
                name="loader",
                index=plan.index,
                order=plan.order,
                image=plan.image,
                hub=started.address,
                quarantine=quarantine,
                cache=c.workers.cache,
            ),
        )
        beside += loaders
        starting = say_which_loaders_are_missing(loaders, c.workers.cpus_per_loader * factor)
    args = TrainerArgs(plan, loaders, hub, max(1, int(c.workers.cpus_per_worker)), first_step, fence)
    scaling = ray.train.ScalingConfig(
        num_workers=c.workers.num_workers,
        use_gpu=gpu,
        resources_per_worker=resources,
    )
    pace = TrainPace(plan.config.steps, c.workers.num_workers)
    with stop_on_sigterm() as stop, watched(hub, ProgressReporter("train", "step"), pace.point, stop):
        _fit(args, scaling, c.workers.max_failures, lambda: trainers_awaited(stop, starting))
        report_all(loaders)
    ray.kill(keeper)
    return _outcome(plan, pace, first_step)


def _fit(
    args: TrainerArgs, scaling: ray.train.ScalingConfig, max_failures: int, awaited: Callable[[], AbstractContextManager[None]]
) -> None:
    """Runs groups of trainers until one ends well; each continues from the last good checkpoint.

    Ray Train could restart groups itself, but would do so for any error, also for one that no restart mends.
    """
    for failures in range(max_failures + 1):
        records = tempfile.mkdtemp(prefix="swissroll-ray-train-")
        try:
            with awaited():
                ray.train.torch.TorchTrainer(
                    run_trainer,
                    train_loop_config={"args": args},
                    scaling_config=scaling,
                    # A name of its own: under an earlier name Ray Train would continue from its own records; ours count.
                    run_config=ray.train.RunConfig(name=f"swissroll-{uuid.uuid4().hex[:8]}", storage_path=records),
                ).fit()
            return
        except (ray.train.TrainingFailedError, RayActorError) as error:  # the latter: what Ray Train leads the trainers with
            check_own_node()
            cause = _cause(error)
            final = failures == max_failures or (
                isinstance(cause, SwissrollError) and not isinstance(cause, TransientStorageError | NoAnswer)
            )
            if final:
                raise cause from error
            last_line = str(cause).strip().rpartition("\n")[2]
            args.hub.say.remote(f"warning: trainers failed ({last_line}); restarting from the last checkpoint")
        finally:
            shutil.rmtree(records, ignore_errors=True)  # on this node; Ray Train's own, of which nothing is read again


def _outcome(plan: TrainPlan, pace: TrainPace, first_step: int) -> TrainOutcome:
    checkpoint = latest_good(plan.config.run_dir)
    if checkpoint is None:
        raise SwissrollError(f"the job ended without a checkpoint in {plan.config.run_dir}")
    step = read_record(checkpoint).step
    return TrainOutcome(
        step=step,
        finished=step >= plan.config.steps,
        checkpoint=checkpoint,
        images=(step - first_step) * plan.config.stream.batch_size,
        streamed_per_s=pace.streamed_per_s,
        trained_per_s=pace.trained_per_s,
        wait_share=pace.wait_share,
    )


def _newest_step(run_url: str) -> int:
    urls = checkpoint_urls(run_url)
    return int(urls[0].rpartition("-")[2]) if urls else 0


def _cause(error: ray.train.TrainingFailedError | RayActorError) -> BaseException:
    """Returns the project's own error inside a failure of Ray Train, where there is one."""
    inner: BaseException | None
    for inner in [*getattr(error, "worker_failures", {}).values(), getattr(error, "controller_failure", None), error.__cause__]:
        seen = 0
        while inner is not None and seen < 10:
            # What Ray raises for an actor's error is of the error's class as well, but its text is a remote traceback.
            if isinstance(inner, SwissrollError) and not isinstance(inner, RayTaskError):
                return inner
            cause = getattr(inner, "cause", None) or getattr(inner, "_base_exc", None) or inner.__cause__
            inner, seen = cause, seen + 1
    return error
