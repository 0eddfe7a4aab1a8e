"""Reading the headers of many shards, spread over a cluster."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import cast

import ray
from ray import ObjectRef
from ray.exceptions import RayTaskError

from pipeline.plans.index_plan import IndexPlan
from pipeline.runtime.asking import asked
from pipeline.runtime.session import total
from pipeline.shards import IndexedShard, ShardIndex, found_shards, index_shard, join_shards
from pipeline.storage import ObjectInfo

THREADS_PER_TASK = 8  # header reads are short: most of a task's time is waiting for the store
MAX_SHARDS_PER_TASK = 64
TASKS_PER_CPU = 4


def run_indexing(plan: IndexPlan, progress: Callable[[int, int], None]) -> ShardIndex:
    """Returns the index of these shards, made by tasks on all nodes of the connected cluster.

    Args:
        plan: The shards, and what an earlier index knew of them.
        progress: Called as (shards done, shards in all).

    Raises:
        ConfigError: A shard is missing.
        CorruptDataError: A shard is no tar, was cut, has no samples, or breaks the grouping rule; named, with the offset.
        StorageError: A shard could not be read.
        NoAnswer: What a task made does not come.
    """
    urls, found = plan.urls, found_shards(plan.urls)
    cpus = max(1, int(total("CPU")))
    share = max(1, min(MAX_SHARDS_PER_TASK, len(urls) // (TASKS_PER_CPU * cpus)))
    task = ray.remote(_index_shards).options(num_cpus=1, max_retries=3, scheduling_strategy="SPREAD")
    parts: list[IndexedShard | None] = [None] * len(urls)
    running: dict[ObjectRef, int] = {}
    waiting = list(range(0, len(urls), share))[::-1]
    done = 0
    progress(done, len(urls))
    while running or waiting:
        while waiting and len(running) < TASKS_PER_CPU * cpus:  # a bound on what the scheduler holds, and on lost work
            first = waiting.pop()
            cut = slice(first, first + share)
            whole = [url in plan.with_md5 for url in urls[cut]]
            running[cast(ObjectRef, task.remote(urls[cut], found[cut], whole, plan.checksums))] = first
        ready, _ = ray.wait(list(running), num_returns=1)
        first = running.pop(ready[0])
        try:
            made = cast(list[IndexedShard], asked(ready[0], "a finished indexing task"))
        except RayTaskError as error:
            raise error.cause from error
        parts[first : first + len(made)] = made
        done += len(made)
        progress(done, len(urls))
    return join_shards([part for part in parts if part is not None], name=plan.name, meta=plan.meta)


def _index_shards(urls: list[str], found: list[ObjectInfo], whole: list[bool], checksums: bool) -> list[IndexedShard]:
    pool = ThreadPoolExecutor(THREADS_PER_TASK)
    try:
        return list(pool.map(index_shard, urls, found, whole, repeat(checksums)))
    finally:
        pool.shutdown(cancel_futures=True)
