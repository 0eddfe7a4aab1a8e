"""A small data set as one block of arrays."""

import numpy as np

from pipeline.shards import ShardIndex, decode_image, decode_label, has_label, image_field, read_sound_samples
from pipeline.stream.arrays import BatchArrays


def read_all(index: ShardIndex, *, size: int, channels: int) -> BatchArrays:
    """Returns every sample once, in the order of the shards; meant for data that fits into memory.

    Args:
        index: The data set.
        size: Height and width to decode to, in pixels.
        channels: 1 for grey, 3 for RGB.

    Raises:
        CorruptDataError: An image or label cannot be decoded.
        StorageError: A shard could not be read.
    """
    images = np.empty((index.num_samples, size, size, channels), np.uint8)
    labels = np.full(index.num_samples, -1, np.int64)
    row = 0
    for number, shard in enumerate(index.shards):
        for sample in read_sound_samples(index, number, 0, shard.num_samples):
            data = sample.fields[image_field(sample)]
            images[row] = decode_image(data, channels=channels, size=size, uri=sample.uri, offset=sample.offset)
            if has_label(sample):
                labels[row] = decode_label(sample)
            row += 1
    numbers = np.arange(index.num_samples, dtype=np.int64)
    return BatchArrays(images, labels, numbers, np.zeros_like(numbers))
