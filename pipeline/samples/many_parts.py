"""Looking at all parts of a set in several processes; what is found is the same, and in the same order, as in one."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import Connection, wait

from pipeline import storage
from pipeline.errors import NoAnswer
from pipeline.samples.findings import Findings
from pipeline.samples.ledger import PartRecord
from pipeline.samples.part_checks import check_part, part_url_of
from pipeline.samples.read_ahead import read_ahead

_WORTH_BYTES = 256 * 1024**2
"""Size of a set from which on further processes, which take a second to start, are worth it."""
_AHEAD = 4
"""Tasks handed out beyond those being worked on, for each process."""
_PARTS_A_TASK = 32
"""On a store that takes its time to answer: several times what is read at once."""


def check_parts(
    url: str,
    records: Sequence[PartRecord],
    spec: Mapping[str, object] | None,
    findings: Findings,
    *,
    decode_images: bool,
    processes: int | None = None,
) -> Iterator[PartRecord]:
    """Looks at every part, adds what is wrong to the findings, and yields each part when that is done, in order.

    Args:
        url: The set's folder.
        records: The committed parts.
        spec: The run's spec, or None where it is not known.
        findings: What accumulates.
        decode_images: Whether to decode every image.
        processes: How many look; unset: as many as there are cores, for a set that is large enough.

    Raises:
        PermissionDenied: A part may not be read.
        TransientStorageError: The store did not answer.
        NoAnswer: One of the further processes was killed.
    """
    if processes is None:
        large = sum(record.size_bytes for record in records) >= _WORTH_BYTES
        processes = len(os.sched_getaffinity(0)) if large else 1
    # One after another until it is known what images and columns to expect of all others.
    done = 0
    for record, read in zip(records, _reads(url, records), strict=True):
        check_part(url, record, read, spec, findings, decode_images=decode_images)
        yield record
        done += 1
        if processes > 1 and findings.columns and (findings.image_size or not decode_images):
            break
    rest = _tasks(url, records[done:])
    expected = findings.like()
    context = multiprocessing.get_context("spawn")  # forking a process with the threads of Arrow or s3fs may hang
    over, alive = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, context, _begin, (url, spec, expected, decode_images, over))
    try:
        waiting = [(task, pool.submit(_check, task)) for task in islice(rest, processes * _AHEAD)]
        while waiting:
            task, found = waiting.pop(0)
            for record, one in zip(task, found.result(), strict=True):
                findings.absorb(one)
                yield record
            if (task := next(rest, None)) is not None:
                waiting.append((task, pool.submit(_check, task)))
    except BrokenProcessPool as error:  # not tried again: where memory is short, the next ones would be killed, too
        raise NoAnswer(
            "got a process that was killed while it looked at parts, as the kernel does where memory is short, "
            f"expected all {processes} to go on ({url}); on fewer cores, as under taskset, there are fewer of them"
        ) from error
    finally:
        alive.close()  # whoever stops the job is not to wait for a part on a store that does not answer
        pool.shutdown(cancel_futures=True)
        over.close()


def _reads(url: str, records: Sequence[PartRecord]) -> Iterator[Callable[[], bytes]]:
    return read_ahead((part_url_of(url, record), record.size_bytes) for record in records)


def _tasks(url: str, records: Sequence[PartRecord]) -> Iterator[Sequence[PartRecord]]:
    """Parts that one process looks at, one after another; on a local disk a single one, which does not keep it waiting."""
    count = 1 if storage.is_local(url) else _PARTS_A_TASK
    return (records[first : first + count] for first in range(0, len(records), count))


_given: tuple[str, Mapping[str, object] | None, Findings, bool]
"""What `_begin` was called with, in a process of the pool."""


def _begin(url: str, spec: Mapping[str, object] | None, expected: Findings, decode_images: bool, over: Connection) -> None:
    global _given
    _given = url, spec, expected, decode_images
    # The keyboard's signal goes to all processes; the one that hands out parts ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_when, args=(over,), daemon=True).start()


def _end_when(over: Connection) -> None:
    """Ends this process when the one that handed out parts closed its end of the pipe, or the kernel did as it was killed.

    Nothing else would tell: the pipe on which a pool's processes wait for work is held open by themselves.
    """
    wait([over])
    os._exit(1)


def _check(task: Sequence[PartRecord]) -> list[Findings]:
    url, spec, expected, decode_images = _given
    found = []
    for record, read in zip(task, _reads(url, task), strict=True):
        found.append(expected.like())
        check_part(url, record, read, spec, found[-1], decode_images=decode_images)
    return found
