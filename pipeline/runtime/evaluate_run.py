"""An evaluation from plan to result, in this process: images one batch after another, progress shown."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.checkpoints import load_model
from pipeline.errors import ConfigError
from pipeline.evaluation import BitsMeter, BitsPerDim
from pipeline.networks.layout import lay_out
from pipeline.plans.evaluate_plan import EvaluatePlan
from pipeline.shards import decode_image, decode_label, image_field, read_sound_samples


def run_evaluation(plan: EvaluatePlan, progress: Callable[[int, int], None] = lambda done, total: None) -> BitsPerDim:
    """Returns the bits per dimension of a plan's checkpoint on its images.

    Args:
        plan: What to evaluate.
        progress: Called as (done, total) after each batch.

    Raises:
        ConfigError: A GPU was asked for and there is none, a label is none of the model's classes, or it is not clear which
            field holds the image.
        CorruptDataError: An image cannot be decoded, or the checkpoint is damaged.
    """
    if plan.config.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("accelerator is gpu, but this machine has none; expected auto or cpu")
    device = torch.device("cuda" if plan.config.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    model = load_model(plan.checkpoint, plan.ema).model.to(device)
    lay_out(model.network, device)
    meter, done = BitsMeter(), 0
    for images, labels, numbers in _batches(plan):
        tensors = [torch.from_numpy(array).to(device) for array in (images, labels, numbers)]
        meter.add(model, tensors[0].permute(0, 3, 1, 2), tensors[1], tensors[2], plan.config.seed)
        done += len(numbers)
        progress(done, sum(plan.rows))
    return meter.result()


def _batches(plan: EvaluatePlan) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
    """Images uint8 [B, H, W, C], labels int64 [B] (-1: none), numbers in the data set int64 [B]; batches may cross shards."""
    image, classes = plan.model.image, plan.model.image.num_classes
    rows: list[tuple[NDArray[np.uint8], int, int]] = []
    first = 0
    for shard, take in enumerate(plan.rows):
        for start in range(0, take, plan.config.batch_rows):
            stop = min(take, start + plan.config.batch_rows)
            for place, sample in enumerate(read_sound_samples(plan.index, shard, start, stop), start=first + start):
                data = sample.fields[image_field(sample, plan.config.image_field)]
                limit, place_of = plan.config.max_pixels, {"uri": sample.uri, "offset": sample.offset}
                pixels = decode_image(data, channels=image.channels, size=image.size, max_pixels=limit, **place_of)
                label = decode_label(sample) if classes else -1
                if label >= classes > 0:
                    raise ConfigError(
                        f"the model has classes 0 to {classes - 1}, got label {label} in {sample.key!r} of {sample.uri}"
                    )
                rows.append((pixels, label, place))
                if len(rows) == plan.config.batch_rows:
                    yield _stacked(rows)
                    rows = []
        first += plan.index.shards[shard].num_samples
    if rows:
        yield _stacked(rows)


def _stacked(
    rows: list[tuple[NDArray[np.uint8], int, int]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    pixels, labels, numbers = zip(*rows, strict=True)
    return np.stack(pixels), np.array(labels, np.int64), np.array(numbers, np.int64)
