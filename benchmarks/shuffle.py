"""How well does a window shuffle? On shards sorted by class, where a bad shuffle is plain to see.

    python benchmarks/shuffle.py

100,000 samples of 100 classes lie sorted by class in 100 shards. `sorted position` is the rank correlation (Spearman) of where a
sample lies and when it is consumed: 0 is no trace of the storage's order. `neighbors` is the share of pairs of samples adjacent in
a shard that come in the same batch or in neighboring ones, as a multiple of what chance gives. `classes a batch` counts distinct classes in
batches of 256; `memory` is how many samples are held. webdataset is the real library, its shards in shuffled order, with one
worker and with four; a full permutation is what all of them imitate.
"""

import argparse
import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import webdataset
from measuring import machine
from numpy.typing import NDArray

from pipeline.order import OrderConfig, StreamOrder

SHARDS, SAMPLES, CLASSES, BATCH = 100, 1000, 100, 256
TOTAL = SHARDS * SAMPLES


def ours(lanes: int, window: int) -> NDArray[np.int64]:
    """The samples of the first epoch as our order has them."""
    order = StreamOrder(np.full(SHARDS, SAMPLES), OrderConfig(seed=0, batch_size=BATCH, lanes=lanes, window=window))
    rows = [order.rows(step) for step in range(TOTAL // BATCH + 2)]
    samples, epochs = (np.concatenate([getattr(row, name) for row in rows]) for name in ("sample", "epoch"))
    return samples[epochs == 0]


def by_webdataset(folder: str, buffer: int, workers: int) -> NDArray[np.int64]:
    """The samples of an epoch as webdataset gives them: workers' shards in turns of one batch, as its DataLoader does."""
    urls = sorted(str(path) for path in Path(folder).glob("*.tar"))
    order = np.random.default_rng(0).permutation(SHARDS)
    streams = []
    for worker in range(workers):
        own = [urls[number] for number in order[worker::workers]]
        data = webdataset.WebDataset(own, shardshuffle=False).shuffle(buffer, initial=buffer)
        streams.append(np.array([int(sample["cls"]) for sample in data]))
    turns = [stream[first : first + BATCH] for first in range(0, TOTAL, BATCH) for stream in streams]
    return np.concatenate(turns)


def write_shards(folder: str) -> None:
    """Shards in which every sample is its own number."""
    for shard in range(SHARDS):
        with tarfile.open(f"{folder}/{shard:04d}.tar", "w") as archive:
            for number in range(shard * SAMPLES, (shard + 1) * SAMPLES):
                text = str(number).encode()
                member = tarfile.TarInfo(f"{number:07d}.cls")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))


def measured(consumed: NDArray[np.int64]) -> str:
    """Columns of the table for one epoch's samples in the order of consumption."""
    assert len(np.unique(consumed)) == len(consumed) == TOTAL
    when = np.empty(TOTAL, np.int64)
    when[consumed] = np.arange(TOTAL)
    # Ranks on both sides, so Spearman's coefficient is Pearson's; the shards' own order is undone: position in the shuffled shards.
    inside = np.arange(TOTAL) % SAMPLES
    first = np.argsort(np.argsort(when.reshape(SHARDS, SAMPLES).mean(axis=1)))
    lies = first[np.arange(TOTAL) // SAMPLES] * SAMPLES + inside
    correlation = np.corrcoef(lies, when)[0, 1]
    pairs = np.abs(np.diff(when.reshape(SHARDS, SAMPLES) // BATCH, axis=1)) <= 1
    chance = 3 * BATCH / TOTAL
    whole = consumed[: TOTAL // BATCH * BATCH].reshape(-1, BATCH) * CLASSES // TOTAL
    classes = np.array([len(np.unique(row)) for row in whole])
    return f"{correlation:.2f} | {pairs.mean() / chance:.1f} | {classes.mean():.0f} | {np.quantile(classes, 0.05):.0f}"


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("\n".join(f"- {line}" for line in machine(["numpy", "webdataset"])), flush=True)
    print(
        "\n| shuffle | memory, samples | sorted position | neighbors | classes a batch | in the worst 5% |\n|---|---:|---:|---:|---:|---:|"
    )
    for lanes, window in ((1, 4096), (16, 64), (16, 256), (16, 1024), (16, 4096), (64, 1024), (256, 256)):
        row = measured(ours(lanes, window))
        print(f"| ours, {lanes} lanes, windows of {window:,} | {lanes * window:,} | {row} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_shards(folder)
        for workers, buffer in ((1, 1000), (1, 4096), (1, 16384), (4, 4096)):
            row = measured(by_webdataset(folder, buffer, workers))
            print(f"| webdataset, {workers} workers, buffers of {buffer:,} | {workers * buffer:,} | {row} |", flush=True)
    print(f"| full permutation | {TOTAL:,} | {measured(np.random.default_rng(0).permutation(TOTAL))} |", flush=True)
    print(f"\nChance gives {CLASSES * (1 - (1 - 1 / CLASSES) ** BATCH):.0f} classes a batch.")


if __name__ == "__main__":
    main()
