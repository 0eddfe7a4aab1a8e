import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
import simplejpeg
from ray.cluster_utils import Cluster

from pipeline.shards import ImageSource, SourceImage, open_source, pack


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster whose head takes no loaders; tests add nodes."""
    folder = tempfile.mkdtemp(prefix="swr-")  # short: Ray puts Unix sockets below it
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "PYTHONWARNINGS": "ignore"}.items():
            environment.setenv(name, value)
        environment.delenv("RAY_ADDRESS", raising=False)
        root = str(Path(__file__).parents[2])
        environment.setenv("PYTHONPATH", f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        options = {"num_cpus": 0, "object_store_memory": 400_000_000, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args=options)
        ray.init(address=started.address, namespace="swissroll", log_to_driver=False)
        try:
            yield started
        finally:
            ray.shutdown()
            started.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """1,797 digits of 8x8 pixels in six shards."""
    folder = tmp_path_factory.mktemp("digits")
    pack(open_source("digits"), str(folder), shard_size=300)
    return str(folder)


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> str:
    """600 JPEGs of 128x128 pixels of noise, about 19 KB each, in four shards: memory that can be measured."""
    folder = tmp_path_factory.mktemp("noise")
    draw = np.random.default_rng(0)

    def load(number: int) -> SourceImage:
        pixels = draw.integers(0, 256, (128, 128, 3), dtype=np.uint8)
        data = simplejpeg.encode_jpeg(pixels, quality=90)
        return SourceImage(data=data, extension="jpg", shape=(128, 128, 3), label=number % 10, metadata={})

    source = ImageSource(name="noise", num_images=600, load=load, class_names=tuple("0123456789"), seed=0)
    pack(source, str(folder), shard_size=150)
    return str(folder)
