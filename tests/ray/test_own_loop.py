"""The example of docs/own-loop.md, run as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

DOCUMENT = Path(__file__).parents[2] / "docs" / "own-loop.md"


def torchrun(cluster: Cluster, script: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, *arguments]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    ended = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def test_the_ddp_script_trains_and_goes_on(cluster: Cluster, digits: str, tmp_path: Path):
    cluster.add_node(num_cpus=2)
    script, state = tmp_path / "own_ddp.py", tmp_path / "position.json"
    script.write_text(re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)[1])
    said = torchrun(cluster, script, digits, state, 1)
    assert sorted(re.findall(r"rank (\d): epoch 1,", said)) == ["0", "1"]
    assert json.loads(state.read_text())["samples_consumed"] == 29 * 64  # the batches that begin among 1,797 samples
    said = torchrun(cluster, script, digits, state, 2)
    assert "epoch 1" not in said
    assert sorted(re.findall(r"rank (\d): epoch 2,", said)) == ["0", "1"]
