"""What does streaming cost beyond decoding? CPU time an image as a multiple of bare decoding, on real pictures, beside the peers.

    python benchmarks/stream.py [--turns N] [--scale X] [--only NAME ...]

The ceiling decodes from memory into one reused buffer, in two processes: no reading, no shuffling, no batch that anybody keeps.
Everything else reads from the page cache, or from an S3 server on this machine, shuffles, and hands out batches of 64 as uint8 arrays with labels (this stream also
batches of 256). Every run of a case stands between two runs of the ceiling; figures are medians. The peers run in
an environment of their own, which `make bench` makes.
"""

import argparse
import subprocess
import sys
import tempfile
from contextlib import nullcontext

from measuring import Figures, compare, machine
from pictures import HERE, KINDS, PEERS_PYTHON, Pictures
from s3_server import s3_server, upload

NAMES = {
    "ours-256": "this stream, 2 loader actors, batch 256",
    "ours-64": "this stream, 2 loader actors, batch 64",
    "litdata": "LitData (converted data)",
    "webdataset-best": "webdataset + DataLoader, best decoder",
    "webdataset-stock": "webdataset + DataLoader, stock decoder",
    "mosaicml-streaming": "mosaicml-streaming (converted data)",
    "ray-data-best": "Ray Data, hand-written reader",
    "ray-data-stock": "Ray Data, `read_webdataset`",
    "ours-256-s3": "this stream, batch 256, from S3",
    "ours-256-beside": "this stream, batch 256, local, while another process reads from S3 as the row above does",
    "litdata-s3": "LitData (converted data), from S3",
    "mosaicml-streaming-s3": "mosaicml-streaming (converted data), from S3",
    "webdataset-best-s3": "webdataset through curl, best decoder, from S3",
    "webdataset-stock-s3": "webdataset through curl, stock decoder, from S3",
    "ray-data-best-s3": "Ray Data, hand-written reader, from S3",
    "ray-data-stock-s3": "Ray Data, `read_webdataset`, from S3",
}


def table(pictures: Pictures, whole: Figures, found: dict[str, Figures]) -> list[str]:
    """Lines of a Markdown table."""
    rows = {"ceiling: decoding into a reused buffer, 2 processes": whole, **{NAMES[case]: f for case, f in found.items()}}
    lines = [f"| {pictures.name} | CPU µs an image | x ceiling | images/s |", "|---|---:|---:|---:|"]
    return lines + [f"| {name} | {f.cpu_us:.0f} | {f.ratio:.2f} | {f.images_per_s:,.0f} |" for name, f in rows.items()]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds", nargs="*", choices=[kind.extension for kind in KINDS], default=["jpg", "png"], help="pictures"
    )
    parser.add_argument("--turns", type=int, default=5, help="runs of each case (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="images a run, as a multiple of the usual number")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=list(NAMES), help="cases to run (default all)")
    given = parser.parse_args()
    if not PEERS_PYTHON.exists():
        sys.exit(f"no environment of the peers at {PEERS_PYTHON}; `make bench` makes it and runs this")
    print("\n".join(f"- {line}" for line in machine(["ray", "torch", "numpy", "simplejpeg"])), flush=True)
    peers = ("webdataset", "litdata", "mosaicml-streaming", "kornia-rs")
    code = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {peers}))"
    print("- peers:", subprocess.check_output([PEERS_PYTHON, "-c", code], text=True).strip(), flush=True)
    failed: list[str] = []
    from_s3 = any(case.endswith(("-s3", "-beside")) for case in given.only)
    with tempfile.TemporaryDirectory(prefix="swissroll-bench-") as home, s3_server() if from_s3 else nullcontext():
        for pictures in (kind for kind in KINDS if kind.extension in given.kinds):
            folder = pictures.packed(f"{home}/{pictures.extension}", {case.removesuffix("-s3") for case in given.only})
            remote = upload(folder) if from_s3 else ("", "")
            cases = {case: pictures.command(case, folder, remote) for case in given.only}
            images = int(pictures.images * given.scale)
            ceiling = pictures.command("ceiling", folder, remote)
            pull = [sys.executable, str(HERE / "pull.py"), remote[0], str(pictures.pulled_bytes_per_s)]
            found = compare(ceiling, cases, images=images, turns=given.turns, beside={"ours-256-beside": pull})
            print("", *table(pictures, *found), sep="\n", flush=True)
            failed += [f"{pictures.name}: {NAMES[case]}" for case in cases if case not in found[1]]
    if failed:
        sys.exit("\n".join(["no figures of", *failed]))


if __name__ == "__main__":
    main()
