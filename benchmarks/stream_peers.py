"""Cases of the stream benchmark that run in the environment of the peers: the ceiling, webdataset, LitData, mosaicml-streaming.

    python benchmarks/stream_peers.py prepare FOLDER EXTENSION      converts the shards for those that need it
    python benchmarks/stream_peers.py CASE FOLDER EXTENSION SIDE    serves a case, see serving.py

All shuffle, use two processes, and hand out batches of 64 as uint8 [64, side, side, 3] with labels. Where a peer lets one
choose, images are stored as the encoded bytes and decoded a batch at a time into one array: faster than each peer's own way.
"""

import json
import os
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
import torch
from decoders import BATCH, DECODERS, decode_batch
from serving import serve

WORKERS = 2
SHUFFLE_BUFFER = 1000
CACHE_BYTES = 300_000_000  # what a peer may keep of what it downloads: less than the data, so that it streams


def shards(folder):
    """Paths of the shards, or the commands that read them where the folder is on a web server."""
    if folder.startswith("http"):
        with urllib.request.urlopen(f"{folder}/index.json") as index:
            return [f"pipe:curl -s -f {folder}/{shard['url']}" for shard in json.load(index)["shardlist"]]
    return sorted(str(path) for path in Path(folder).glob("*.tar"))


def samples(folder, extension):
    """(image bytes, label) of every sample."""
    for shard in shards(folder):
        with tarfile.open(shard) as archive:
            fields = {}
            for member in archive:
                key, _, kind = member.name.partition(".")
                fields.setdefault(key, {})[kind] = archive.extractfile(member).read()
            for sample in fields.values():
                yield sample[extension], int(sample["cls"])


def in_workers(dataset, collate, **more):
    """Batches of a DataLoader of two workers, again and again."""
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    loader = DataLoader(dataset, num_workers=WORKERS, collate_fn=collate, persistent_workers=True, **more)
    while True:
        for images, _ in loader:
            assert images.dtype == torch.uint8
            yield len(images)


class DecodedBatch:
    """Puts (image bytes, label) pairs together as two tensors."""

    def __init__(self, extension, side):
        self.extension, self.side = extension, side

    def __call__(self, rows):
        """The batch."""
        images, labels = zip(*rows, strict=True)
        return torch.from_numpy(decode_batch(images, self.extension, self.side)), torch.tensor(labels)


def ceiling(folder, extension, side):
    """Two processes that decode what is in their memory into one reused buffer; nothing is read, shuffled or handed over."""
    import multiprocessing

    encoded = [data for data, _ in samples(folder, extension)]

    def decode(connection):
        batch, decoder = np.empty((BATCH, side, side, 3), np.uint8), DECODERS[extension]
        while count := connection.recv():
            for first in range(0, count, BATCH):
                for row in range(BATCH):
                    decoder(encoded[(first + row) % len(encoded)], batch[row])
            connection.send(count)

    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(WORKERS)]
    for _, there in pipes:
        context.Process(target=decode, args=(there,), daemon=True).start()
    chunk = 8 * BATCH
    while True:
        for here, _ in pipes:
            here.send(chunk)
        for here, _ in pipes:
            yield here.recv()


def webdataset_stock(folder, extension, side):
    """webdataset as its own documents use it: Pillow's decoder, a shuffle buffer, default collation."""
    import webdataset

    def collate(rows):
        images, labels = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(images)), torch.tensor(labels)

    data = webdataset.WebDataset(shards(folder), shardshuffle=len(shards(folder)), seed=0).shuffle(SHUFFLE_BUFFER)
    data = data.decode("rgb8").to_tuple(extension, "cls").batched(BATCH, collation_fn=collate, partial=False).repeat()
    return in_workers(data, None, batch_size=None)


def webdataset_best(folder, extension, side):
    """webdataset on bare bytes, decoded a batch at a time."""
    import webdataset

    batch = DecodedBatch(extension, side)

    def collate(rows):
        return batch([(row[extension], int(row["cls"])) for row in rows])

    data = webdataset.WebDataset(shards(folder), shardshuffle=len(shards(folder)), seed=0).shuffle(SHUFFLE_BUFFER)
    return in_workers(data.batched(BATCH, collation_fn=collate, partial=False).repeat(), None, batch_size=None)


def litdata_best(folder, extension, side):
    """LitData on its own converted format."""
    import litdata
    from litdata.streaming import downloader

    torch.set_num_threads(1)
    kept = {"cache_dir": tempfile.mkdtemp(), "max_cache_size": f"{CACHE_BYTES // 10**6}MB"} if folder.startswith("s3:") else {}
    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # there is no other way to have it ask a server without TLS
    data = litdata.StreamingDataset(f"{folder}/litdata", shuffle=True, drop_last=True, seed=0, **kept)
    collate = DecodedBatch(extension, side)
    loader = litdata.StreamingDataLoader(
        data, batch_size=BATCH, num_workers=WORKERS, collate_fn=lambda rows: collate([(r["image"], r["label"]) for r in rows])
    )
    while True:
        for images, _ in loader:
            assert images.dtype == torch.uint8
            yield len(images)


def mosaicml_best(folder, extension, side):
    """mosaicml-streaming on its own converted format; one long epoch, for it starts each anew."""
    _torchvision_without_its_operators()
    from streaming import Stream, StreamingDataset

    collate = DecodedBatch(extension, side)
    where, kept = {"local": f"{folder}/mds"}, {}
    if folder.startswith("s3:"):
        os.environ["S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
        where = {"remote": f"{folder}/mds", "local": tempfile.mkdtemp()}
        # Its own choice, blocks of 262,144 samples, would fetch every shard again and again, for it may not keep them all.
        kept = {"cache_limit": CACHE_BYTES, "shuffle_block_size": 4096, "predownload": 2048}
    data = StreamingDataset(
        streams=[Stream(**where, repeat=50)],
        **kept,
        shuffle=True,
        batch_size=BATCH,
        shuffle_seed=0,
        num_canonical_nodes=1,
    )
    return in_workers(data, lambda rows: collate([(r["image"], r["label"]) for r in rows]), batch_size=BATCH, drop_last=True)


def prepare(folder, extension):
    """Converts the shards."""
    _torchvision_without_its_operators()
    import litdata
    from streaming import MDSWriter

    columns = {"image": "bytes", "label": "int"}
    with MDSWriter(out=f"{folder}/mds", columns=columns, size_limit=1 << 24) as writer:
        for data, label in samples(folder, extension):
            writer.write({"image": data, "label": label})
    rows = list(samples(folder, extension))
    litdata.optimize(
        lambda number: {"image": rows[number][0], "label": rows[number][1]},
        list(range(len(rows))),
        output_dir=f"{folder}/litdata",
        chunk_bytes="32MB",
        num_workers=1,
        start_method="fork",
        verbose=False,
    )


def _torchvision_without_its_operators():
    # mosaicml-streaming imports torchvision for data sets that are not used here; its compiled operators fit another build
    # of torch, and it only asks whether their names are known.
    from torch import library as torch_library

    library = torch_library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


_KEPT = []
CASES = {
    "ceiling": ceiling,
    "webdataset-stock": webdataset_stock,
    "webdataset-best": webdataset_best,
    "litdata": litdata_best,
    "mosaicml-streaming": mosaicml_best,
}


def main():
    """Prepares, or serves a case."""
    case, folder, extension, *side = sys.argv[1:]
    if case == "prepare":
        prepare(folder, extension)
    else:
        serve(lambda: CASES[case](folder, extension, int(side[0])))


if __name__ == "__main__":
    main()
