"""The compiled network: the same bytes after every restart, the images of the plain one, and plain words without a compiler."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config as inductor
from generation_models import CPU, model, spec
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.generation import ImageSampler
from pipeline.networks.compiling import compiler_trouble

HERE = Path(__file__).parent
PROGRAM = f"import sys; sys.path[:0] = [{str(HERE)!r}]; import test_generation_compiled as t; t.show(sys.argv[1] == 'compiled')"


class Small(nn.Module):
    """A network that compiles within seconds: convolutions and a normalisation, told of time and class."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.told, self.into, self.out = nn.Embedding(200, 16), nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Returns what is of the shape of x, [B, 1, 8, 8]."""
        told = (self.told(t) + self.told(100 + labels))[:, :, None, None]
        return self.out(nn.functional.silu(self.norm(self.into(x) + told)))


def made(compiled: bool) -> ImageSampler:
    built = model()
    built.network = Small()  # pyright: ignore[reportAttributeAccessIssue]
    return ImageSampler(built, spec(compiled=compiled), CPU)


def show(compiled: bool) -> None:
    """Twelve images as bytes on standard output."""
    torch.set_num_threads(1)
    sys.stdout.buffer.write(made(compiled).images(4, 12).tobytes())


def test_compiled_bytes_are_the_same_in_another_process_and_close_to_the_plain_ones(tmp_path: Path) -> None:
    """Each process has a cache of its own, so that neither takes what the other compiled."""
    root = HERE.parents[2]
    names = ("one", "two", "plain")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "plain" if name == "plain" else "compiled"],
            env={
                **os.environ,
                "PYTHONPATH": str(root),
                "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / name),
                "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",  # which takes longer than this one network
            },
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    one, two, plain = (process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert any((tmp_path / "one").rglob("*.so")), "nothing was compiled"
    assert one == two
    assert len(one) == 12 * 64
    assert np.abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(plain, np.uint8)).max() <= 1


def test_without_a_compiler_nothing_is_sampled() -> None:
    with (
        inductor.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(ConfigError, match=r"compiled: got no compiler \(no-such-compiler\) on this machine"),
    ):
        ImageSampler(model(), spec(compiled=True), CPU)


def test_a_compiler_without_a_name_is_told_too() -> None:
    with (
        inductor.patch({"cpp.cxx": (None, "")}),
        pytest.raises(ConfigError, match=r"compiled: got no compiler \(CXX is set to nothing\) on this machine"),
    ):
        ImageSampler(model(), spec(compiled=True), CPU)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_a_compiler_that_fails_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1:1: fatal error: Python.h: No such file or directory' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    using = inductor.patch({"cpp.cxx": (None, str(broken)), "cpp_cache_precompile_headers": False})
    with using, pytest.raises(ConfigError, match="compiled: got an error from the compiler") as caught:
        made(compiled=True).images(0, 8)
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_the_compilers() -> None:
    assert compiler_trouble(ValueError("got 3")) is None
