"""Does the bookkeeping of a sample set stay small at ten million samples? Time and memory of each step, on a real file system.

    python benchmarks/ledger.py [--parts 10000] [--part-rows 1000] [--folder FOLDER | --s3]

The images are 8x8 grey PNG files, the same ones in every part: what is measured is the ledger, the manifest and the checks, not
sampling. Every step runs in a process of its own, whose peak memory is printed.
"""

import argparse
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from measuring import machine
from PIL import Image
from s3_server import BUCKET, s3_server

from pipeline.samples import PartRows, SampleSet, encode_part, load_manifest, open_ranges, verify

SPEC: dict[str, object] = {"seed": 0, "for": "benchmarks/ledger.py"}


def fill(url: str, num_samples: int, part_rows: int, leave: int) -> None:
    """Makes and commits all open parts but the last `leave`."""
    pixels = np.random.default_rng(0).integers(0, 256, (part_rows, 8, 8), dtype=np.uint8)
    images = [png(one) for one in pixels]
    samples = SampleSet(url)
    samples.open(SPEC, num_samples=num_samples)
    spans = open_ranges(num_samples, part_rows, samples.committed())
    for span in spans[: len(spans) - leave]:
        samples.commit(span.first, encode_part(PartRows(first=span.first, images=images[: span.rows]), SPEC), span.rows)


def png(pixels: np.ndarray) -> bytes:
    """One image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def resume(url: str, num_samples: int, part_rows: int) -> None:
    """What a job does before it starts its first worker."""
    samples = SampleSet(url)
    samples.check(SPEC)
    samples.open(SPEC, num_samples=num_samples)
    samples.adopt()
    open_ranges(num_samples, part_rows, samples.committed())


def publish(url: str, num_samples: int) -> None:
    """The manifest and the card."""
    SampleSet(url).publish(num_samples)


def read_manifest(url: str) -> None:
    """What a reader does first."""
    load_manifest(url)


def look(url: str, decode_images: bool) -> None:
    """The whole proof."""
    report = verify(url, decode_images=decode_images)
    assert report.ok, report.describe()


def measured(step: Callable[..., None], *args: object) -> tuple[float, float]:
    """Returns (seconds, peak megabytes above the imports) of a step in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(there, step, args))
    process.start()
    found = here.recv()
    process.join()
    assert process.exitcode == 0
    return found


def _run(pipe, step: Callable[..., None], args: tuple[object, ...]) -> None:
    before, begin = _peak_mb(), time.perf_counter()
    step(*args)
    pipe.send((time.perf_counter() - begin, _peak_mb() - before))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--part-rows", type=int, default=1_000)
    parser.add_argument("--folder", default=None, help="where the set is made; on the file system to be measured")
    parser.add_argument(
        "--s3", action="store_true", help="on an S3 server on this machine instead, whose work is not counted apart"
    )
    given = parser.parse_args()
    n, rows = given.parts * given.part_rows, given.part_rows
    print("\n".join(machine(["pyarrow", "pillow"])))
    print(f"{n:,} samples in {given.parts:,} parts\n")
    print(f"{'step':44} {'seconds':>9} {'ms/part':>9} {'MB above imports':>17}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder, s3_server() if given.s3 else nullcontext():
        url = f"s3://{BUCKET}/set" if given.s3 else f"{folder}/set"
        missing = min(100, given.parts)
        steps: list[tuple[str, Callable[..., None], tuple[object, ...]]] = [
            (f"encode and commit all but {missing} parts", fill, (url, n, rows, missing)),
            (f"resume with {missing} parts open", resume, (url, n, rows)),
            ("encode and commit these", fill, (url, n, rows, 0)),
            ("resume with no part open", resume, (url, n, rows)),
            ("publish", publish, (url, n)),
            ("publish again", publish, (url, n)),
            ("read the manifest", read_manifest, (url,)),
            ("verify without decoding images", look, (url, False)),
            ("verify, every image decoded", look, (url, True)),
        ]
        for name, step, args in steps:
            seconds, megabytes = measured(step, *args)
            print(f"{name:44} {seconds:9.2f} {seconds / given.parts * 1e3:9.3f} {megabytes:17.0f}", flush=True)


if __name__ == "__main__":
    main()
