"""The stream for people with a training loop of their own, in any process that is connected to Ray.

    for batch in stream("s3://bucket/data", ImageSpec(size=64, channels=3, num_classes=10), batch_size=256):
        train(batch.images, batch.labels)

Each consumer calls `stream` with the same data, order and seed and its own rank; it starts loader actors of its own, which make
its rows of every global batch. Which samples a global batch holds depends on none of this, so a run may go on with another
number of consumers or loaders. See docs/own-loop.md.
"""

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from weakref import WeakSet

import ray
from ray import ObjectRef

from pipeline.errors import ConfigError
from pipeline.order import Cursor, Piece, row_slice
from pipeline.runtime.cpu_shares import left_cpus
from pipeline.runtime.feed import BatchFeed
from pipeline.runtime.loader import LoaderArgs, start_loaders
from pipeline.runtime.loader_start import say_who_is_missing
from pipeline.runtime.passes import Passes
from pipeline.runtime.quarantine import watched_quarantine
from pipeline.runtime.session import connect
from pipeline.runtime.stream_arguments import check_arguments, chosen_config, consumer_place, whole_numbers
from pipeline.shards import open_data
from pipeline.storage import RangeCache
from pipeline.stream import ImageSpec, StreamConfig, make_order
from pipeline.training import Batch

_streams: "WeakSet[Stream]" = WeakSet()
SEEN_AFTER_S = 30.0  # Ray knows by then what loaders of this process reserve, those of training beside validation, say


class Stream:
    """One consumer's rows of the global batches; each pass with `for` is the rest of one epoch.

    Args:
        data: Shards, as `jobs/train.py --data` takes them.
        image: What images are decoded to.
        config: Batches and shuffling; the same for all consumers.
        seed: Seed of the order; the same for all consumers.
        rank: Number of this consumer, from 0; None: the rank of torch.distributed where it is initialised, else 0.
        world_size: Number of consumers; None: that of torch.distributed where it is initialised, else 1.
        num_loaders: Loader actors for this consumer.
        cpus_per_loader: CPUs that Ray reserves for each.
        share_cpus: Whether to reserve less where the cluster has too few CPUs for all consumers' loaders; else they wait for it
            to grow. Where others have reserved CPUs already, such as an earlier stream, they take what is left, be it nothing.
        prefetch_batches: Batches asked for in advance.
        pin: Whether to put batches into page-locked memory, for asynchronous copies to CUDA.
        cache: Where loaders keep ranges on their nodes; None keeps none.
        quarantine: Folder, on the consumer's node or a store: samples that cannot be decoded are replaced, each consumer logs
            that and lists those that it met in `quarantine-{data}-{rank}.jsonl`, and more than `config.max_corrupt_share` of
            all samples in one list end the pass with an error. One stream at a time writes a list. None refuses them.

    Raises:
        ConfigError: The arguments or the data do not fit.
        CorruptDataError: There is a list in the folder, and it is none.
        StorageError: The data or the list could not be looked at.
    """

    def __init__(
        self,
        data: str | os.PathLike[str],
        image: ImageSpec,
        config: StreamConfig,
        *,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        num_loaders: int = 1,
        cpus_per_loader: float = 1.0,
        share_cpus: bool = True,
        prefetch_batches: int = 4,
        pin: bool = False,
        cache: RangeCache | None = None,
        quarantine: str | os.PathLike[str] | None = None,
    ) -> None:
        others = {"data": data, "share_cpus": share_cpus, "cache": cache, "quarantine": quarantine}
        check_arguments(image, config, cpus_per_loader, pin=pin, **others)
        seed, num_loaders = whole_numbers(seed=seed, num_loaders=num_loaders)
        self.rank, self.world_size = consumer_place(rank, world_size, config.batch_size)
        self.batch_size = config.batch_size
        index = open_data(os.fspath(data))
        self._order = make_order(index, config, seed)
        self._fingerprint = self._order.fingerprint(index.fingerprint())
        self._image, self._pin, (self._prefetch,) = image, pin, whole_numbers(prefetch_batches=prefetch_batches)
        self._passes = Passes(self._order.num_samples, config.batch_size)
        self._closed, self._began_s = False, time.monotonic()
        self._feed: BatchFeed | None = None
        first, last = row_slice(config.batch_size, self.rank, self.world_size)
        cuts = [row_slice(last - first, loader, num_loaders) for loader in range(num_loaders)]
        self._pieces = [Piece(i, self.rank, first + a, first + b) for i, (a, b) in enumerate(cuts) if a < b]
        if not ray.is_initialized():
            connect()
        self._watch, listed = None, None
        if quarantine is not None:
            file = f"quarantine-{index.fingerprint()[:8]}-{self.rank}.jsonl"
            self._watch, listed = watched_quarantine(os.fspath(quarantine), file, config.corrupt_allowed(index.num_samples))
        name = f"stream-{self.rank}"
        args = LoaderArgs(name=name, index=index, order=self._order, image=image, cache=cache, quarantine=listed)
        # Every consumer starts as many, and none can begin before all of its own are placed.
        claimed, self._cpus = sum(other._claimed_lately() for other in _streams), cpus_per_loader
        if share_cpus:
            self._cpus = left_cpus(num_loaders * self.world_size, cpus_per_loader, claimed)
        self._loaders = start_loaders(num_loaders, self._cpus, args)
        _streams.add(self)
        self._starting: list[ObjectRef] = [loader.__ray_ready__.remote() for loader in self._loaders]

    @property
    def epoch(self) -> int:
        """The epoch of the pass under way, its last batch included; else the one that the next batch begins in. From 0."""
        return self._passes.epoch

    def __len__(self) -> int:
        """Batches of `epoch`, those already delivered included."""
        return self._passes.num_batches

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches that are left of the present epoch; the next pass goes on with the next epoch.

        Every batch is full: where the number of samples is no multiple of the batch size, the last batch of an epoch takes some
        of its rows from the next epoch (`batch.epochs` tells which), which then begins with the samples that are left.

        Raises:
            ConfigError: The stream is closed.
            SwissrollError: What a loader found, such as a sample that cannot be decoded.
        """
        for _ in self._passes.one_pass():
            self._check_open()
            if self._feed is not None and self._feed.step != self._passes.step:
                self._drop_feed()  # interrupted between taking a batch and counting it
            if self._feed is None:
                self._feed = self._feed_from_here()
                starting, self._starting = self._starting, []
                say_who_is_missing(starting, self._cpus)
            if self._watch is not None:
                self._watch.look()
            try:
                batch = next(self._feed)
            except BaseException:
                # A failed or interrupted wait (Ctrl-C) must not cost its batches: whoever goes on gets them from a new feed.
                self._feed = None
                raise
            self._passes.step += 1  # before the batch is used: a state saved in the loop's body counts it
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The position as JSON values, the same for all consumers: what was delivered so far counts as consumed."""
        return Cursor(samples_consumed=self._passes.step * self.batch_size, fingerprint=self._fingerprint).to_json()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved position, of whichever consumer and number of consumers.

        Raises:
            ResumeMismatch: The position belongs to other data, another seed or another order.
            ConfigError: It is no position, or the stream is closed.
        """
        self._check_open()
        self._passes.load(Cursor.from_json(state).step(self.batch_size, self._fingerprint))
        self._drop_feed()

    def close(self) -> None:
        """Ends the loaders, when they are through with what they were asked for; they also end with this process."""
        if self._watch is not None and not self._closed:
            self._watch.last_look()
        self._closed, self._starting = True, []
        self._drop_feed()
        for loader in self._loaders:
            # A kill, or an end that Ray tries again, would be reported as tasks that failed.
            loader.__ray_terminate__.options(max_task_retries=0).remote()
        self._loaders, self._watch = [], None

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _claimed_lately(self) -> float:
        """CPUs of the loaders of all ranks: each has a stream like this one."""
        return self._cpus * len(self._loaders) * self.world_size * (time.monotonic() - self._began_s < SEEN_AFTER_S)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("the stream is closed, expected one that is open: its loaders have ended")

    def _drop_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.give_up()

    def _feed_from_here(self) -> BatchFeed:
        prefetch, pin = self._prefetch, self._pin
        return BatchFeed(
            self._loaders, self._pieces, image=self._image, first=self._passes.step, last=None, prefetch=prefetch, pin=pin
        )


def stream(
    data: str | os.PathLike[str],
    image: ImageSpec,
    config: StreamConfig | None = None,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    num_loaders: int = 1,
    cpus_per_loader: float = 1.0,
    share_cpus: bool = True,
    prefetch_batches: int = 4,
    pin: bool = False,
    cache: RangeCache | None = None,
    quarantine: str | os.PathLike[str] | None = None,
) -> Stream:
    """Returns a stream over a data set.

    Args:
        data: As `Stream`, like all arguments that are not named here.
        image: What images are decoded to.
        config: Batches and shuffling.
        batch_size: Samples of a global batch, instead of a configuration.

    Raises:
        SwissrollError: As `Stream`.
    """
    return Stream(
        data,
        image,
        chosen_config(config, batch_size),
        seed=seed,
        rank=rank,
        world_size=world_size,
        num_loaders=num_loaders,
        cpus_per_loader=cpus_per_loader,
        share_cpus=share_cpus,
        prefetch_batches=prefetch_batches,
        pin=pin,
        cache=cache,
        quarantine=quarantine,
    )
