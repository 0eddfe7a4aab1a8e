"""Looking at all parts of a set in several processes; what is found is the same, and in the same order, as in one."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import Connection, wait

from pipeline.errors import NoAnswer
from pipeline.samples.findings import Findings
from pipeline.samples.ledger import PartRecord
from pipeline.samples.part_checks import check_part

_WORTH_BYTES = 256 * 1024**2
"""Size of a set from which on further processes, which take a second to start, are worth it."""
_AHEAD = 4
"""Parts handed out beyond those being looked at, for each process."""


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
    rest = iter(records)
    # One after another until it is known what images and columns to expect of all others.
    for record in rest:
        check_part(url, record, spec, findings, decode_images=decode_images)
        yield record
        if processes > 1 and findings.columns and (findings.image_size or not decode_images):
            break
    expected = findings.like()
    context = multiprocessing.get_context("spawn")  # forking a process with the threads of Arrow or s3fs may hang
    over, alive = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, context, _begin, (url, spec, expected, decode_images, over))
    try:
        waiting = [(record, pool.submit(_check, record)) for record in islice(rest, processes * _AHEAD)]
        while waiting:
            record, found = waiting.pop(0)
            findings.absorb(found.result())
            yield record
            if (record := next(rest, None)) is not None:
                waiting.append((record, pool.submit(_check, record)))
    except BrokenProcessPool as error:  # not tried again: where memory is short, the next ones would be killed, too
        raise NoAnswer(
            "got a process that was killed while it looked at parts, as the kernel does where memory is short, "
            f"expected all {processes} to go on ({url}); on fewer cores, as under taskset, there are fewer of them"
        ) from error
    finally:
        alive.close()  # whoever stops the job is not to wait for a part on a store that does not answer
        pool.shutdown(cancel_futures=True)
        over.close()


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


def _check(record: PartRecord) -> Findings:
    url, spec, expected, decode_images = _given
    found = expected.like()
    check_part(url, record, spec, found, decode_images=decode_images)
    return found
