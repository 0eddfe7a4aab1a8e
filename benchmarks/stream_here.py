"""Cases of the stream benchmark that run in the project's own environment: this stream, and Ray Data.

python benchmarks/stream_here.py CASE FOLDER EXTENSION SIDE [WORKERS BATCH DEVICE]    serves a case, see serving.py
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.fs
import ray
from decoders import decode_batch
from serving import Setting, serve

from pipeline.order import pieces
from pipeline.runtime.feed import BatchFeed
from pipeline.runtime.hub import start_hub
from pipeline.runtime.loader import LoaderArgs, start_loaders
from pipeline.runtime.session import ray_session
from pipeline.shards import open_data
from pipeline.stream import ImageSpec, StreamConfig, make_order

SHUFFLE_BUFFER = 1000


def ours(setting: Setting) -> Iterator[int]:
    """Loader actors and one consumer, as a trainer is one; every loader makes its rows of every batch."""
    with ray_session():
        index = open_data(setting.folder)
        order = make_order(index, StreamConfig(batch_size=setting.batch), seed=0)
        hub = start_hub("train", 0, 0)
        image = ImageSpec(size=setting.side, channels=3, num_classes=1000)
        args = LoaderArgs(name="loader", index=index, order=order, image=image, hub=hub.address)
        loaders = start_loaders(setting.workers, 0.9, args)
        cut = pieces(setting.batch, setting.workers, 1)
        for batch in BatchFeed(loaders, cut, image=image, first=0, last=None, prefetch=4, pin=setting.pin):
            yield setting.consume(batch.images)


def ray_data_stock(setting: Setting) -> Iterator[int]:
    """Ray Data's own WebDataset reader and decoder."""
    with _ray_data(setting):
        shards, store = _shards(setting)
        data = ray.data.read_webdataset(shards, filesystem=store, shuffle="files", override_num_blocks=len(shards))

        def batches() -> Iterator[int]:
            for batch in data.iter_batches(batch_size=setting.batch, local_shuffle_buffer_size=SHUFFLE_BUFFER):
                images = cast(dict[str, Any], batch)[setting.extension]
                yield len(images if images.dtype == np.uint8 else np.stack(list(images)))

        yield from _whole_passes(batches)


def ray_data_best(setting: Setting) -> Iterator[int]:
    """Ray Data with a hand-written reader: a task a shard, shuffled inside, decoded straight into blocks of batches."""
    import tarfile

    extension, batch_size = setting.extension, setting.batch
    paths, store = _shards(setting)

    def blocks(rows: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for path in rows["item"]:
            images, labels = [], []
            whole = None if store is None else io.BytesIO(store.open_input_stream(path).read())
            with tarfile.open(path, fileobj=whole) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    assert file is not None
                    if member.name.endswith(f".{extension}"):
                        images.append(file.read())
                    elif member.name.endswith(".cls"):
                        labels.append(int(file.read()))
            mixed = np.random.default_rng(len(images)).permutation(len(images))
            for first in range(0, len(mixed), 4 * batch_size):
                chosen = mixed[first : first + 4 * batch_size]
                yield {
                    "image": decode_batch([images[i] for i in chosen], extension, setting.side),
                    "label": np.array([labels[i] for i in chosen]),
                }

    with _ray_data(setting):
        data = ray.data.from_items(paths, override_num_blocks=len(paths)).map_batches(blocks, batch_size=1)

        def batches() -> Iterator[int]:
            for batch in data.iter_batches(batch_size=batch_size):
                images = cast(dict[str, Any], batch)["image"]
                assert images.dtype == np.uint8
                yield len(images)

        yield from _whole_passes(batches)


def _whole_passes(batches: Callable[[], Iterator[int]]) -> Iterator[int]:
    """Images of one pass over the data set after another. Ray Data decodes on for more than a minute after its consumer has
    stopped, and is at rest only once a pass is over."""
    while True:
        yield sum(batches())


def _ray_data(setting: Setting) -> Any:
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    context = ray.init(num_cpus=setting.workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    return context


def _shards(setting: Setting) -> tuple[list[str], Any]:
    """Paths of the shards, and the store that they are in; None for the local disk."""
    if not setting.folder.startswith("s3:"):
        return sorted(str(path) for path in Path(setting.folder).glob("*.tar")), None
    scheme, _, server = os.environ["AWS_ENDPOINT_URL"].partition("://")
    store = pyarrow.fs.S3FileSystem(scheme=scheme, endpoint_override=server, region=os.environ["AWS_DEFAULT_REGION"])
    found = store.get_file_info(pyarrow.fs.FileSelector(setting.folder.removeprefix("s3://")))
    return sorted(info.path for info in found if info.path.endswith(".tar")), store


CASES: dict[str, Callable[[Setting], Iterator[int]]] = {
    "ours": ours,
    "ours-64": lambda setting: ours(replace(setting, batch=64)),
    "ours-256": lambda setting: ours(replace(setting, batch=256)),
    "ray-data-stock": ray_data_stock,
    "ray-data-best": ray_data_best,
}


def main() -> None:
    """Serves a case."""
    case, *words = sys.argv[1:]
    serve(lambda: CASES[case](Setting.parse(words)))


if __name__ == "__main__":
    main()
