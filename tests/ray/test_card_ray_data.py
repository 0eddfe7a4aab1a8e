"""The dataset card's examples for Ray Data, run as they stand there beside a set that is being extended."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ray.cluster_utils import Cluster

from pipeline import storage
from pipeline.samples import PartRange, PartRows, SampleSet, encode_part

SPEC: dict[str, object] = {"seed": 7}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def part(span: PartRange, *, raw: bool) -> bytes | memoryview:
    pixels = np.stack([np.full((4, 5, 3), index, np.uint8) for index in range(span.first, span.first + span.rows)])
    return encode_part(PartRows(first=span.first, images=pixels if raw else [png(image) for image in pixels]), SPEC)


@pytest.mark.parametrize("raw", [False, True], ids=["encoded", "raw"])
def test_ray_data_gives_the_manifests_rows(cluster: Cluster, tmp_path: Path, raw: bool):
    if len(cluster.list_all_nodes()) == 1:
        cluster.add_node(num_cpus=2)
    samples = SampleSet(str(tmp_path))
    samples.open(SPEC, num_samples=25)
    for span in [PartRange(0, 10), PartRange(10, 15)]:
        samples.commit(span.first, part(span, raw=raw), span.rows)
    samples.publish(25)
    samples.open(SPEC, num_samples=60)
    samples.commit(25, part(PartRange(25, 5), raw=raw), 5)
    storage.put_once(str(tmp_path / "data" / "copy.parquet"), part(PartRange(0, 10), raw=raw))
    examples = [piece.partition("```")[0] for piece in (tmp_path / "README.md").read_text().split("```python\n")[1:]]
    check = """
assert sorted(row["index"] for row in samples.take_all()) == list(range(25))
assert len(set(np.asarray(picture).ravel().tolist())) == 1 and np.asarray(picture).shape == (4, 5, 3)
"""
    code = f"import numpy as np\nfolder = {str(tmp_path)!r}\n{examples[0]}\n{examples[-1]}\n{check}"
    assert "ray.data.read_parquet(" in code
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
