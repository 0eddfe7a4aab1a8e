"""What each trainer process does: find the last good checkpoint, stream, train, report, save."""

import time
from dataclasses import dataclass

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from ray import ObjectRef
from ray.actor import ActorHandle
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipeline import storage
from pipeline.checkpoints import TrainingSnapshot, checkpoint_urls, load_training, prune, save_checkpoint, save_snapshot
from pipeline.errors import CorruptDataError, ResumeMismatch
from pipeline.models import Model
from pipeline.order import Cursor, pieces
from pipeline.plans.train_plan import TrainPlan
from pipeline.runtime.asking import HUB, asked
from pipeline.runtime.feed import BatchFeed
from pipeline.runtime.heap import keep_freed_memory
from pipeline.runtime.hub import new_tally
from pipeline.runtime.storage_counts import reach_storage_counts
from pipeline.telemetry import (
    CHECKPOINT_STEP,
    EPOCH,
    IMAGES_TRAINED,
    LEARNING_RATE,
    TRAIN_LOSS,
    TRAIN_STEP,
    TRAIN_STEP_SECONDS,
    TRAINER_DATA_WAIT_SECONDS,
)
from pipeline.training import StepResult, TrainState, train_steps

REPORT_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class TrainerArgs:
    """What the driver hands to every trainer process."""

    plan: TrainPlan
    loaders: list[ActorHandle]
    hub: ActorHandle
    threads: int
    """CPU threads of torch."""
    first_step: int
    """Where the job began, for the count of images trained since."""
    fence: storage.Fence | None = None
    """Tells whether another job has taken the run over; None where that cannot be."""


def run_trainer(config: dict[str, TrainerArgs]) -> None:
    """Trains until the plan's steps are done or the hub says stop; the last thing it does is to save."""
    Trainer(config["args"]).run()


class Trainer:
    """One rank of the run."""

    def __init__(self, args: TrainerArgs) -> None:
        self.args, self.plan, self.config, self.hub = args, args.plan, args.plan.config, args.hub
        self.rank, self.world_size = ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size()
        self.device = ray.train.torch.get_device()
        if self.device.type == "cpu":
            torch.set_num_threads(args.threads)
            keep_freed_memory()
        self.tally = new_tally(self.hub, f"trainer-{self.rank}")
        self.state = TrainState(Model(self.config.model, init_seed=self.config.seed), self.config.optim, self.device)
        self.history: list[tuple[int, float]] = []
        self.saved_step = self._resume()
        self._loss_sum, self._loss_steps = torch.zeros((), device=self.device), 0
        self._reported_at = self._saved_at = time.monotonic()

    def run(self) -> None:
        """Streams and trains."""
        c = self.config
        cut = pieces(c.stream.batch_size, len(self.args.loaders), self.world_size)
        feed = BatchFeed(
            self.args.loaders,
            [p for p in cut if p.rank == self.rank],
            image=self.plan.image,
            first=self.state.step,
            last=c.steps,
            prefetch=c.workers.prefetch_batches,
            pin=self.device.type == "cuda",
        )
        for result in train_steps(self.state, self._wrapped(), feed, steps=c.steps, seed=c.seed, may_start=self._may_start):
            self._after_step(result)
        if self.rank == 0 and self.state.step > self.saved_step:
            self._save()
        asked(self._report(), HUB)

    def _wrapped(self) -> nn.Module:
        if self.world_size == 1:
            return self.state.network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.state.network, device_ids=devices, gradient_as_bucket_view=True)

    def _may_start(self, step: int) -> bool:
        return bool(asked(self.hub.may_start.remote(step), HUB))

    def _after_step(self, result: StepResult) -> None:
        self._loss_sum += result.loss
        self._loss_steps += 1
        self.tally.add(TRAINER_DATA_WAIT_SECONDS, result.wait_s)
        self.tally.add(TRAIN_STEP_SECONDS, result.step_s)
        if result.step % self.config.log_every_steps == 0:
            loss = self._mean_over_ranks(self._loss_sum / self._loss_steps)
            self._loss_sum, self._loss_steps = torch.zeros_like(self._loss_sum), 0
            self.history.append((result.step, loss))
            self.tally.set(TRAIN_LOSS, loss)
        every = self.config.snapshot_every_steps
        if self.rank == 0 and every and (result.step % every == 0 or result.step == self.config.steps):
            if self.args.fence is not None:
                self.args.fence.check()
            save_snapshot(self.config.run_dir, result.step, self.state.averages)
        now = time.monotonic()
        if now - self._reported_at > REPORT_EVERY_S:
            self._report()
            self._reported_at = now
        if self.rank == 0 and now - self._saved_at > self.config.checkpoint_every_s:
            self._save()

    def _mean_over_ranks(self, value: torch.Tensor) -> float:
        if self.world_size > 1:
            dist.all_reduce(value)
            value = value / self.world_size
        return float(value)

    def _report(self) -> list[ObjectRef]:
        step = self.state.step
        self.tally.set(TRAIN_STEP, step)
        self.tally.set(LEARNING_RATE, self.config.optim.learning_rate_at(max(0, step - 1)))
        self.tally.set(EPOCH, int(self.plan.order.epochs_at(step)))
        reach_storage_counts(self.tally)
        sent: list[ObjectRef] = [self.hub.report.remote(self.tally.report())]
        if self.rank == 0:
            trained = (step - self.args.first_step) * self.config.stream.batch_size
            sent.append(self.hub.commit.remote(IMAGES_TRAINED.name, max(0, trained)))
        return sent

    def _save(self) -> None:
        batch = self.config.stream.batch_size
        save_checkpoint(
            self.config.run_dir,
            step=self.state.step,
            model=self.state.model,
            averages=self.state.averages,
            training_tensors=self.state.tensors(),
            cursor=Cursor(samples_consumed=self.state.step * batch, fingerprint=self.plan.fingerprint),
            config=self.config.to_json(),
            history=self.history,
            fence=self.args.fence,
        )
        prune(self.config.run_dir, self.config.keep_checkpoints, self.state.step, self.args.fence)
        self.saved_step, self._saved_at = self.state.step, time.monotonic()
        self.hub.commit.remote(CHECKPOINT_STEP.name, self.state.step)

    def _resume(self) -> int:
        """Loads the newest checkpoint that can be read to the end; returns its step, or 0 for a fresh start."""
        snapshot = self._readable_snapshot() if self.rank == 0 else None
        if self.world_size > 1:
            # Rank 0 decides which checkpoint, so that ranks cannot disagree about a store that changes under them.
            step = torch.tensor([-1 if snapshot is None else snapshot.step], device=self.device)
            dist.broadcast(step, 0)
            if self.rank and int(step) >= 0:
                snapshot = load_training(storage.join(self.config.run_dir, "checkpoints", f"step-{int(step):09d}"))
        if snapshot is None:
            return 0
        expected = snapshot.cursor.step(self.config.stream.batch_size, self.plan.fingerprint)
        if expected != snapshot.step:
            raise ResumeMismatch(f"{snapshot.url}: position {expected} in the stream, expected step {snapshot.step}")
        self.state.load(snapshot.tensors, snapshot.averages, snapshot.step, snapshot.url)
        self.history = [point for point in snapshot.history if point[0] <= snapshot.step]
        return snapshot.step

    def _readable_snapshot(self) -> TrainingSnapshot | None:
        for url in checkpoint_urls(self.config.run_dir):
            try:
                return load_training(url)
            except CorruptDataError as error:
                self.hub.say.remote(f"warning: passing over a damaged checkpoint: {error}")
        return None
