"""The whole path on real digits: pack, train, generate, verify, look. python jobs/demo.py --output FOLDER."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline.checkpoints import load_model, load_training, resolve
from pipeline.evaluation import train_classifier
from pipeline.generation import generating_strip, noising_strip
from pipeline.pictures import image_grid, labelled_strips, loss_curve
from pipeline.plans.flags import arguments, parse_flags
from pipeline.runtime.console import say, say_table
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.runtime.step import run_step
from pipeline.samples import read_samples
from pipeline.shards import decode_image, open_data
from pipeline.stream import read_all

AGREEMENT_WANTED = 0.9
# Fresh noise in every step and guidance make up for a short training.
PARTS = ("--part-rows", 250, "--batch-rows", 125)  # four equal parts keep two workers busy to the end
SAMPLER = ("--sampler", "ddim", "--eta", 1, "--sampler-steps", 20, "--guidance", 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCommand:
    """Pack real digits, train on them, generate new ones, check them and draw what happened. Can be run again."""

    output: str = "demo-output"
    """Folder for everything the demo makes."""
    steps: int = 800
    """Training steps."""
    num_samples: int = 1000
    """Digits to generate."""


def main() -> int:
    """Runs the demo; returns 0 if the generated digits can be read."""
    command = parse_flags(DemoCommand, arguments(), DemoCommand(), prog="demo.py")
    begin = time.monotonic()
    home = Path(command.output).resolve()
    shards, heldout, run, samples = (home / name for name in ("shards", "heldout-shards", "run", "samples"))
    run_step("1/5 pack 4,000 digits", "pack.py", "--images", "mnist-train", "--output", shards)
    run_step("    pack 1,000 others, for judging", "pack.py", "--images", "mnist-heldout", "--output", heldout)
    train = ("--data", shards, "--run-dir", run, "--num-workers", 2, "--num-loaders", 2, "--steps", command.steps)
    trained = run_step("2/5 train", "train.py", "mnist", *train, summary=home / "train.json", scrape=True)
    generate = ("--checkpoint", run, "--output", samples, "--num-samples", command.num_samples, *PARTS, *SAMPLER)
    generated = run_step("3/5 generate", "generate.py", *generate, summary=home / "generate.json", scrape=True)
    run_step("4/5 verify", "verify.py", samples)
    say("\n== 5/5 look ==")
    real = read_all(open_data(str(heldout)), size=28, channels=1)
    images, labels = _generated(str(samples))
    agreement = train_classifier(real.images, real.labels).agreement(images, labels)
    pictures = _draw(home / "pictures", str(run), real.images[0], images, labels)
    say_table(
        f"\nDone in {time.monotonic() - begin:.0f} s",
        [
            ("streamed", f"{trained.get('streamed_per_s', 0):,.0f} images/s"),
            ("trained", f"{trained.get('trained_per_s', 0):,.0f} images/s on 2 workers, {trained.get('step')} steps"),
            ("generated", f"{generated['generated_per_s']:,.0f} images/s" if generated["made"] else "all there already"),
            (
                "read back",
                f"{agreement:.1%} of the samples show the digit asked for (a classifier trained on 1,000 other digits)",
            ),
            *[("picture", str(path)) for path in pictures],
            ("samples", str(samples)),
            ("checkpoint", str(run / "checkpoints")),
            ("try next", f"python jobs/generate.py --checkpoint {run} --output {home}/sevens --num-samples 100 --labels 7"),
            ("", f"python jobs/train.py mnist --data {shards} --run-dir {run} --steps {2 * command.steps}"),
            ("", f"python jobs/verify.py {samples}"),
        ],
    )
    return OK if agreement >= AGREEMENT_WANTED else FAILED


def _generated(url: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rows = list(read_samples(url))
    images = np.stack([decode_image(row.image, channels=1) for row in rows])
    return images, np.array([row.label for row in rows], np.int64)


def _draw(folder: Path, run: str, real: NDArray[np.uint8], images: NDArray[np.uint8], labels: NDArray[np.int64]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    checkpoint = resolve(run)
    model = load_model(checkpoint).model
    by_class = np.concatenate([images[labels == digit][:10] for digit in range(10)])
    strips = {"real, noised": noising_strip(model, real, frames=10), "noise to a 3": generating_strip(model, 3, frames=10)}
    drawn = {
        "samples.png": image_grid(by_class, columns=10, scale=2),
        "over-time.png": labelled_strips(strips, scale=3),
        "loss.png": loss_curve(load_training(checkpoint).history),
    }
    for name, data in drawn.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in drawn]


if __name__ == "__main__":
    run_job(main)
