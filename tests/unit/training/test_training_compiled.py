"""Training with a compiled network: the losses of the plain one, the samples' own dropout masks, weights under their names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch._inductor.config as inductor
import torch.distributed
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._inductor.exc import CppCompileError
from torch.nn.parallel import DistributedDataParallel
from training_problems import CPU, MODEL, digits, taken

from pipeline.errors import ConfigError
from pipeline.models import LatentConfig, Model, ModelConfig
from pipeline.networks import CoderConfig, SampleDropout
from pipeline.networks.compiling import compiler_trouble
from pipeline.training import OptimConfig, TrainState
from pipeline.training.loop import train_step, train_steps

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),  # Dynamo looks, after dropout
]
CODERS = CoderConfig(widths=(8,), hidden=8)
VAE = ModelConfig(image=MODEL.image, family=LatentConfig(latent_sizes=(4,)), network=CODERS)


class Small(nn.Module):
    """A network that compiles within seconds: told of time, with dropout in its middle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.told, self.into, self.out = nn.Embedding(1000, 8), nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.dropout = SampleDropout("middle", 0.3)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Returns what is of the shape of x, [B, 1, 8, 8]."""
        return self.out(self.dropout(nn.functional.silu(self.into(x) + self.told(t)[:, :, None, None])))


def state(kind: str, *, compiled: bool) -> TrainState:
    model = Model(VAE if kind == "vae" else MODEL)
    if kind == "diffusion":
        model.network = Small()  # pyright: ignore[reportAttributeAccessIssue]
    return TrainState(model, OptimConfig(learning_rate=1e-3, warmup_steps=0, compiled=compiled), CPU)


def test_a_compiled_network_trains_as_the_plain_one() -> None:
    """Both families on a GPU: test_training_cuda.py; here, compiling a VAE takes half a minute."""
    states = [state("diffusion", compiled=compiled) for compiled in (False, True)]
    torch._dynamo.reset()
    counters.clear()
    losses, graphs = [], []
    with inductor.patch({"cpp_cache_precompile_headers": False}):  # which takes longer than these networks
        for one in states:
            batches = (digits(8, first=8 * step) for step in range(4))
            for result in train_steps(one, one.network, batches, steps=4, seed=3):
                losses.append(float(result.loss))
                graphs.append(counters["stats"]["unique_graphs"])
    assert losses[4:] == pytest.approx(losses[:4], rel=1e-4)
    assert graphs[:4] == [0] * 4
    assert graphs[4] > 0, "nothing was compiled"
    assert set(graphs[4:]) == {graphs[4]}, "compiled again for the next step's masks"
    plain, compiled = (one.tensors() for one in states)
    assert list(compiled) == list(plain)
    for key, tensor in plain.items():
        torch.testing.assert_close(compiled[key], tensor, rtol=0.05, atol=1e-3)  # four steps move them by 4e-3


def train_on_rank(rank: int, folder: str) -> None:
    """Three steps on half of the rows, as one of two ranks that average their gradients."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=2)
    one = state("diffusion", compiled=True)
    wrapped = DistributedDataParallel(one.network, gradient_as_bucket_view=True)
    with inductor.patch({"cpp_cache_precompile_headers": False}):
        for step in range(3):
            train_step(one, wrapped, taken(digits(8, first=8 * step), slice(4 * rank, 4 * rank + 4)), seed=3)
    torch.save(one.network.state_dict(), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    # Where the wrapped network is the last to know the group, torch waits, with Python's lock, for a thread of gloo's that may
    # be waiting for that lock: once in many runs the process never ends. Trainers let go of the network long before the group.
    os._exit(0)


def test_compiled_ranks_learn_what_one_plain_rank_does(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); "
    code += "import test_training_compiled as t; t.train_on_rank(int(sys.argv[1]), sys.argv[2])"
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])}
    ranks = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, str(rank), str(tmp_path)], env={**os.environ, **paths})
        for rank in range(2)
    ]
    assert [rank.wait() for rank in ranks] == [0, 0]
    plain = state("diffusion", compiled=False)
    for step in range(3):
        train_step(plain, plain.network, digits(8, first=8 * step), seed=3)
    for name, tensor in plain.network.state_dict().items():
        one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True)[name] for rank in range(2))
        assert torch.equal(one, two), name
        torch.testing.assert_close(one, tensor, rtol=0.05, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


class Cut(Small):
    """Loses the gradients of its first layers where it is compiled, as torch 2.13 does to a U-Net on CPUs."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        h = nn.functional.silu(self.into(x) + self.told(t)[:, :, None, None])
        return self.out(h.detach() if torch.compiler.is_compiling() else h)


def test_a_network_that_is_compiled_wrongly_trains_nothing() -> None:
    model = Model(MODEL)
    model.network = Cut()  # pyright: ignore[reportAttributeAccessIssue]
    one = TrainState(model, OptimConfig(compiled=True), CPU)
    before = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    refused = pytest.raises(ConfigError, match=r"gradients that differ from the plain network's by \d+%, [1-3] of 5 lost")
    with inductor.patch({"cpp_cache_precompile_headers": False}), refused:
        train_step(one, one.network, digits(8), seed=3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.network.state_dict().items())
    assert one.step == 0


def test_a_full_disk_is_not_the_networks_fault() -> None:
    error = CppCompileError(["g++"], "took no more")
    assert compiler_trouble(error) is not None
    error.__cause__ = OSError(28, "No space left on device")
    assert compiler_trouble(error) is None


def test_a_compiler_that_fails_is_named_at_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1:1: fatal error: Python.h: No such file or directory' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    using = inductor.patch({"cpp.cxx": (None, str(broken)), "cpp_cache_precompile_headers": False})
    one = state("vae", compiled=True)
    with using, pytest.raises(ConfigError, match="compiled: got an error from the compiler"):
        train_step(one, one.network, digits(6), seed=3)  # six rows, which no other test has had compiled


def test_without_a_compiler_no_state_is_made() -> None:
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.raises(ConfigError, match="got no compiler"):
        state("vae", compiled=True)
