"""Sampling on a CUDA device: graphs replay what would have run, and bytes belong to the specification there too."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from generation_models import CPU, model, spec
from numpy.typing import NDArray

from pipeline.families import Draws, SamplerConfig, SampleRequest
from pipeline.generation import GenerationSpec, ImageSampler
from pipeline.models import ImageConfig, LatentConfig, Model, ModelConfig
from pipeline.models.model import to_pixels
from pipeline.networks import CoderConfig
from pipeline.networks.layout import lay_out

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

HERE = Path(__file__).parent
CUDA = torch.device("cuda")
PROGRAM = f"import sys; sys.path[:0] = [{str(HERE)!r}]; import test_generation_cuda as t; t.show(sys.argv[1], sys.argv[2:])"
SAMPLERS = {
    "ddim": SamplerConfig(name="ddim", steps=5),
    "ddim, eta 1": SamplerConfig(name="ddim", steps=5, eta=1.0),
    "ddpm": SamplerConfig(name="ddpm", steps=20),
    "dpm++2m": SamplerConfig(name="dpm++2m", steps=6),
    "heun": SamplerConfig(name="heun", steps=4),
}


def on_cuda(**changes: object) -> ImageSampler:
    return ImageSampler(model(), spec(**changes), CUDA)


def not_captured(wanted: GenerationSpec, first: int) -> NDArray[np.uint8]:
    """One batch, each kernel launched by itself."""
    built = model().to(CUDA)
    lay_out(built.network, CUDA).eval()
    numbers = torch.arange(first, first + wanted.batch_rows, device=CUDA)
    labels = wanted.labels_of(first, wanted.batch_rows)
    assert labels is not None
    draws = Draws(seed=wanted.seed, samples=numbers, epochs=torch.zeros_like(numbers))
    request = SampleRequest(sampler=wanted.sampler, guidance=wanted.guidance, draw_pixels=wanted.draw_pixels)
    low = torch.autocast("cuda", torch.bfloat16, enabled=wanted.precision == "bf16", cache_enabled=False)
    with torch.no_grad(), low:
        x = built.sample(torch.from_numpy(labels).cuda(), draws, request)
    return to_pixels(x).permute(0, 2, 3, 1).cpu().numpy()


def mean_distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean difference of two sets of images, in levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_replayed_graph_gives_the_bytes_of_the_kernels_it_holds(name: str, guidance: float, precision: str) -> None:
    """Over several batches, so that numbers and classes change between the replays."""
    changes = {"sampler": SAMPLERS[name], "guidance": guidance, "precision": precision}
    images = on_cuda(**changes).images(8, 24)
    assert images.std() > 5
    apart = np.concatenate([not_captured(spec(**changes), first) for first in (8, 16, 24)])
    assert np.array_equal(images, apart)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_ranges_give_equal_bytes_in_any_order(precision: str) -> None:
    made = on_cuda(precision=precision)
    once, later = made.images(0, 40), made.images(40, 40)
    assert not np.array_equal(once, later)
    assert np.array_equal(made.images(40, 40), later)
    assert np.array_equal(on_cuda(precision=precision).images(0, 40), once)


@pytest.mark.parametrize("name", SAMPLERS)
def test_images_are_those_of_the_cpu_but_for_rounding(name: str) -> None:
    on_cpu = ImageSampler(model(), spec(sampler=SAMPLERS[name]), CPU).images(0, 16)
    assert mean_distance(on_cuda(sampler=SAMPLERS[name]).images(0, 16), on_cpu) < 0.5
    assert mean_distance(on_cuda(sampler=SAMPLERS[name], precision="bf16").images(0, 16), on_cpu) < 4


def show(path: str, how: list[str]) -> None:
    """Writes twenty images to a file, as another process makes them."""
    made = on_cuda(precision="bf16" if "bf16" in how else "fp32", compiled="compiled" in how)
    Path(path).write_bytes(made.images(4, 20).tobytes())


@pytest.mark.parametrize("how", [["fp32"], ["bf16"], ["bf16", "compiled"]], ids=" ".join)
def test_another_process_makes_the_same_bytes(how: list[str], tmp_path: Path) -> None:
    """Each compiles for itself, so that neither takes what the other compiled."""
    running = []
    for name in ("one", "two"):
        cache = {
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / f"{name}-cache"),
            "TRITON_CACHE_DIR": str(tmp_path / f"{name}-triton"),
        }
        environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[2]}:{os.environ.get('PYTHONPATH', '')}", **cache}
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), *how]
        running.append(subprocess.Popen(command, env=environment))
    assert [process.wait() for process in running] == [0, 0]
    one, two = ((tmp_path / name).read_bytes() for name in ("one", "two"))
    assert len(one) == 20 * 64
    assert one == two
    plain = on_cuda(precision=how[0]).images(4, 20)
    assert mean_distance(np.frombuffer(one, np.uint8).reshape(plain.shape), plain) < (2 if "bf16" in how else 0.01)


@pytest.mark.parametrize("latent_sizes", [(6,), (6, 5, 4)], ids=["vae", "hvae"])
@pytest.mark.parametrize("draw_pixels", [False, True])
def test_models_sampled_in_one_pass_are_captured_too(latent_sizes: tuple[int, ...], draw_pixels: bool) -> None:
    config = ModelConfig(
        image=ImageConfig(size=8, channels=1, num_classes=3),
        family=LatentConfig(latent_sizes=latent_sizes),
        network=CoderConfig(widths=(8, 16), hidden=16, norm_groups=4),
    )
    wanted = spec(sampler=None, draw_pixels=draw_pixels)
    images = ImageSampler(Model(config, init_seed=1), wanted, CUDA).images(0, 24)
    assert len({image.tobytes() for image in images}) == 24
    on_cpu = ImageSampler(Model(config, init_seed=1), wanted, CPU).images(0, 24)
    assert mean_distance(images, on_cpu) < 1


def test_a_graph_can_be_captured_while_another_thread_pins_memory() -> None:
    """As a worker does, whose second thread encodes the part before."""
    end = False

    def pin() -> None:
        while not end:
            torch.empty(2**20, pin_memory=True).cuda(non_blocking=True)

    expected = on_cuda().images(0, 16)
    beside = Thread(target=pin)
    beside.start()
    try:
        for _ in range(5):
            assert np.array_equal(on_cuda().images(0, 16), expected)
    finally:
        end = True
        beside.join()
