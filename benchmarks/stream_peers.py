"""Cases of the stream benchmark that run in the environment of the peers: the ceiling, webdataset, LitData, mosaicml-streaming.

    python benchmarks/stream_peers.py prepare FOLDER EXTENSION PEER ...    converts the shards for those that need it
    python benchmarks/stream_peers.py CASE FOLDER EXTENSION SIDE [WORKERS BATCH DEVICE]    serves a case, see serving.py

All shuffle, use as many processes, and hand out batches as uint8 [batch, side, side, 3] with labels. Where a peer lets one
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
from decoders import DECODERS, decode_batch
from serving import Setting, serve

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


def in_workers(setting, dataset, collate, **more):
    """Batches of a DataLoader, again and again."""
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    more = {"num_workers": setting.workers, "pin_memory": setting.pin, "persistent_workers": True, **more}
    loader = DataLoader(dataset, collate_fn=collate, **more)
    while True:
        for images, _ in loader:
            yield setting.consume(images)


class DecodedBatch:
    """Puts (image bytes, label) pairs together as two tensors."""

    def __init__(self, setting):
        self.extension, self.side = setting.extension, setting.side

    def __call__(self, rows):
        """The batch."""
        images, labels = zip(*rows, strict=True)
        return torch.from_numpy(decode_batch(images, self.extension, self.side)), torch.tensor(labels)


def ceiling(setting):
    """Processes that decode what is in their memory into one reused buffer; nothing is read, shuffled or handed over."""
    import multiprocessing

    encoded = [data for data, _ in samples(setting.folder, setting.extension)]
    rows = 64  # of the buffer

    def decode(connection):
        batch, decoder = np.empty((rows, setting.side, setting.side, 3), np.uint8), DECODERS[setting.extension]
        while count := connection.recv():
            for first in range(0, count, rows):
                for row in range(rows):
                    decoder(encoded[(first + row) % len(encoded)], batch[row])
            connection.send(count)

    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(setting.workers)]
    for _, there in pipes:
        context.Process(target=decode, args=(there,), daemon=True).start()
    chunk = 8 * rows
    while True:
        for here, _ in pipes:
            here.send(chunk)
        for here, _ in pipes:
            yield here.recv()


def webdataset_stock(setting):
    """webdataset as its own documents use it: Pillow's decoder, a shuffle buffer, default collation."""
    import webdataset

    def collate(rows):
        images, labels = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(images)), torch.tensor(labels)

    urls = shards(setting.folder)
    data = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(SHUFFLE_BUFFER)
    data = data.decode("rgb8").to_tuple(setting.extension, "cls")
    data = data.batched(setting.batch, collation_fn=collate, partial=False).repeat()
    return in_workers(setting, data, None, batch_size=None)


def webdataset_best(setting):
    """webdataset on bare bytes, decoded a batch at a time."""
    import webdataset

    batch = DecodedBatch(setting)

    def collate(rows):
        return batch([(row[setting.extension], int(row["cls"])) for row in rows])

    urls = shards(setting.folder)
    data = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(SHUFFLE_BUFFER)
    return in_workers(setting, data.batched(setting.batch, collation_fn=collate, partial=False).repeat(), None, batch_size=None)


def litdata_best(setting):
    """LitData on its own converted format."""
    import litdata
    from litdata.streaming import downloader

    torch.set_num_threads(1)
    folder, kept = setting.folder, {}
    if folder.startswith("s3:"):
        kept = {"cache_dir": tempfile.mkdtemp(), "max_cache_size": f"{CACHE_BYTES // 10**6}MB"}
    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # there is no other way to have it ask a server without TLS
    data = litdata.StreamingDataset(f"{folder}/litdata", shuffle=True, drop_last=True, seed=0, **kept)
    collate = DecodedBatch(setting)
    loader = litdata.StreamingDataLoader(
        data,
        batch_size=setting.batch,
        num_workers=setting.workers,
        pin_memory=setting.pin,
        collate_fn=lambda rows: collate([(r["image"], r["label"]) for r in rows]),
    )
    while True:
        for images, _ in loader:
            yield setting.consume(images)


def mosaicml_best(setting):
    """mosaicml-streaming on its own converted format; one long epoch, for it starts each anew."""
    _torchvision_without_its_operators()
    from streaming import Stream, StreamingDataset

    collate, folder = DecodedBatch(setting), setting.folder
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
        batch_size=setting.batch,
        shuffle_seed=0,
        num_canonical_nodes=1,
    )
    return in_workers(
        setting, data, lambda rows: collate([(r["image"], r["label"]) for r in rows]), batch_size=setting.batch, drop_last=True
    )


def prepare(folder, extension, *peers):
    """Converts the shards."""
    if "mosaicml-streaming" in peers:
        _prepare_mosaicml(folder, extension)
    if "litdata" in peers:
        _prepare_litdata(folder, extension)


def _prepare_mosaicml(folder, extension):
    _torchvision_without_its_operators()
    from streaming import MDSWriter

    columns = {"image": "bytes", "label": "int"}
    with MDSWriter(out=f"{folder}/mds", columns=columns, size_limit=1 << 24) as writer:
        for data, label in samples(folder, extension):
            writer.write({"image": data, "label": label})


def _prepare_litdata(folder, extension):
    import litdata

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
    case, *words = sys.argv[1:]
    if case == "prepare":
        prepare(*words)
    else:
        serve(lambda: CASES[case](Setting.parse(words)))


if __name__ == "__main__":
    main()
