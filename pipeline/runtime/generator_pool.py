"""The sampler actors of a run: as many as the cluster has room for, replaced when they die, added and dropped as it changes."""

import time
from dataclasses import dataclass, replace
from typing import cast

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from pipeline.errors import ClusterError
from pipeline.plans.generate_config import GenerateConfig
from pipeline.runtime.asking import HUB_TIMEOUT_S
from pipeline.runtime.cpu_shares import fitting_cpus
from pipeline.runtime.generator import Generator, GeneratorArgs
from pipeline.runtime.session import total

CALLS_PER_WORKER = 2  # one samples while the other encodes and commits
LOOK_EVERY_S = 5.0
START_LIMIT_S = 3600.0
"""After which a worker that has not come up is made anew: one that hangs looks like one that waits for room, which loses
nothing by it."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


@dataclass(slots=True, eq=False)
class Worker:
    """One place for a sampler; its actor is made anew when it dies, under the same name."""

    name: str
    actor: ActorHandle
    starting: ObjectRef | None
    """Answers once the actor lives; until then it gets no work, so a place without room holds nothing up."""
    made_s: float
    """Monotonic time when the actor was made."""
    calls: int = 0
    """Taken by the parts that it is at work on: one each, or all by a part that it has alone."""
    deaths: int = 0
    """In a row, without a part done in between."""
    dead_until_s: float = 0.0
    """Monotonic time before which it is not made anew."""


class GeneratorPool:
    """The workers of one run. Ray does not restart them itself: its restarting actors refuse calls at once, which would use up
    a part's retries in no time.

    Args:
        config: The job.
        args: What each sampler is made from, except for its name.
        parts: Parts to be made: more workers than parts are not started.
    """

    def __init__(self, config: GenerateConfig, args: GeneratorArgs, parts: int) -> None:
        self._config, self._args = config, args
        self._use_gpus = uses_gpus(config)
        count = min(self._wanted(), parts)
        self._cpus = fitting_cpus([(count, 1.0)], share=config.share_cpus)
        self._parts = parts
        self._made = 0
        self.workers: list[Worker] = [self._new() for _ in range(count)]
        self.deaths = 0
        """Workers that died so far."""
        self._dead: list[Worker] = []
        self._looked_s = time.monotonic()

    def idle(self) -> Worker | None:
        """A living worker that can take another part, the least busy one; None if there is none."""
        free = [worker for worker in self.workers if worker.starting is None and worker.calls < CALLS_PER_WORKER]
        return min(free, key=lambda worker: worker.calls, default=None)

    def starting(self) -> list[ObjectRef]:
        """What answers when a worker lives."""
        return [worker.starting for worker in self.workers if worker.starting is not None]

    def started(self, ref: ObjectRef) -> RayError | None:
        """Notes that a worker lives, or returns why it does not: such a worker is put aside like one that died later."""
        for worker in self.workers:
            if worker.starting == ref:
                worker.starting = None
                try:
                    ray.get(ref, timeout=HUB_TIMEOUT_S)
                except RayError as error:
                    self.died(worker, worker.actor)
                    return error
        return None

    @property
    def places(self) -> int:
        """Workers there are or will be again."""
        return len(self.workers) + len(self._dead)

    def died(self, worker: Worker, actor: ActorHandle) -> bool:
        """Puts a worker aside, to be made anew after a pause that grows while nothing goes well; False if it was already.

        Args:
            worker: Whose actor it was.
            actor: The actor that died, or hangs; not necessarily the present one: its calls fail one by one.
        """
        if worker not in self.workers or worker.actor is not actor:
            return False
        ray.kill(actor)  # it may only have been out of reach; one that hangs is killed by its node's raylet
        self.deaths += 1
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**worker.deaths)
        worker.deaths += 1
        worker.dead_until_s = time.monotonic() + pause_s
        self.workers.remove(worker)
        self._dead.append(worker)
        return True

    def look_around(self, open_parts: int) -> None:
        """Makes dead workers anew whose pause is over, and follows the cluster's size now and then.

        Args:
            open_parts: Parts that nobody is at work on.
        """
        now = time.monotonic()
        for worker in [worker for worker in self._dead if worker.dead_until_s <= now]:
            self._dead.remove(worker)
            self._make_anew(worker)
            self.workers.append(worker)
        if self._config.num_workers is not None or now - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now
        wanted = self._wanted()
        here = self.places
        for _ in range(min(wanted - here, open_parts)):
            self.workers.append(self._new())
        for worker in [worker for worker in self.workers if worker.starting is not None][: max(0, here - max(1, wanted))]:
            ray.kill(worker.actor)  # its node went away: it would wait for room for ever
            self.workers.remove(worker)

    def close(self) -> None:
        """Ends all workers at once, whatever they are at: an error keeps references to them for longer than its job lasts."""
        for worker in self.workers:
            ray.kill(worker.actor)

    def late(self) -> list[str]:
        """Makes the workers anew that have not come up for long, and returns their names."""
        limit_s = time.monotonic() - START_LIMIT_S
        late = [worker for worker in self.workers if worker.starting is not None and worker.made_s < limit_s]
        for worker in late:
            ray.kill(worker.actor)
            self._make_anew(worker)
        return [worker.name for worker in late]

    def _wanted(self) -> int:
        if self._config.num_workers is not None:
            return self._config.num_workers
        found = total("GPU") if self._use_gpus else total("CPU")
        return max(1, int(found))

    def _new(self) -> Worker:
        name = f"generator-{self._made}"
        self._made += 1
        return Worker(name, *self._start(name), time.monotonic())

    def _make_anew(self, worker: Worker) -> None:
        worker.actor, worker.starting = self._start(worker.name)
        worker.made_s, worker.calls = time.monotonic(), 0

    def _start(self, name: str) -> tuple[ActorHandle, ObjectRef]:
        actor = ray.remote(Generator).options(
            num_cpus=self._cpus,
            num_gpus=1 if self._use_gpus else 0,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=CALLS_PER_WORKER,
        )
        started = cast(ActorHandle, actor.remote(replace(self._args, name=name)))
        return started, started.ready.remote()


def uses_gpus(config: GenerateConfig) -> bool:
    """Returns whether samplers take a GPU each, by the flags and what the cluster has now.

    Raises:
        ClusterError: GPUs were asked for, there is none, and nothing says how many there will be.
    """
    gpus = int(total("GPU")) if config.accelerator in ("auto", "gpu") else 0
    if config.accelerator == "gpu" and not gpus and config.num_workers is None:
        raise ClusterError(
            "accelerator is gpu, but the cluster has no GPU; expected at least one, or --num-workers for a cluster that grows"
        )
    return gpus > 0 or config.accelerator == "gpu"
