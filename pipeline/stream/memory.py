"""How much memory loaders take."""

import heapq
from dataclasses import dataclass

from pipeline.order import Order, pieces
from pipeline.shards import DECODING_BYTES_PER_PIXEL, ShardIndex, has_offsets_at_hand, sample_offsets
from pipeline.stream.config import ImageSpec

HANDOVER_BYTES = 32 * 2**20
"""What a loader hands over with one answer, at least, where batches are small: every answer costs milliseconds."""
MOST_BATCHES = 64
"""The most batches with one answer."""
LARGE_SHARDS = 16
"""The largest shards, in which large samples are looked for."""


def batches_a_call(piece_bytes: int) -> int:
    """Returns how many batches a loader is asked for at once.

    Args:
        piece_bytes: Size of the largest piece of one batch.
    """
    return max(1, min(MOST_BATCHES, -(-HANDOVER_BYTES // max(1, piece_bytes))))


def decoding_bytes(image: ImageSpec) -> int:
    """Returns the bytes that decoding the largest image allowed takes beyond `loader_memory`; one is decoded at a time."""
    return DECODING_BYTES_PER_PIXEL * image.max_pixels


def calls_in_flight(prefetch: int, most: int) -> int:
    """Returns how many answers a rank has asked for while it waits for one: always two that are made while one is used.

    Args:
        prefetch: Batches asked for in advance, at least.
        most: Batches in one answer.
    """
    return max(3, prefetch // most + 1)


@dataclass(frozen=True, slots=True)
class LoaderMemory:
    """Memory beyond that of the process itself, in bytes; of the loader that takes most.

    The image that is being decoded comes on top, see `decoding_bytes`: how large images are is not known beforehand.
    """

    encoded: int
    """Encoded samples of the windows at hand and of the next ones, where samples are of average size."""
    decoded: int
    """Its rows in the memory that it shares with the ranks on its node, or on its way to other nodes."""
    large: int
    """What a window may take beyond that where large samples lie together, as far as the largest shards show."""
    in_flight: int
    """Batches on their way and in use, over all ranks; where loaders are on the ranks' nodes it is what they call decoded."""

    @property
    def bytes_per_loader(self) -> int:
        """All of it, but for the image that is being decoded."""
        return self.encoded + self.decoded


def loader_memory(
    index: ShardIndex, order: Order, image: ImageSpec, *, num_loaders: int, num_ranks: int, prefetch: int
) -> LoaderMemory:
    """Returns what a loader takes at most, whatever the size of the data set.

    Args:
        index: The data set.
        order: Its order.
        image: What images are decoded to.
        num_loaders: Loaders that share the batch.
        num_ranks: Ranks that it is made for.
        prefetch: Batches that each rank asks for in advance.
    """
    sample_bytes = index.size_bytes / index.num_samples
    window = min(order.window, -(-order.num_samples // order.num_lanes))
    share = -(-order.batch_size // order.num_lanes)
    encoded, decoded, in_flight = [0] * num_loaders, [0] * num_loaders, 0
    cut = pieces(order.batch_size, num_loaders, num_ranks)
    for piece in cut:
        lanes = len({stretch.lane for stretch in order.stretches(0, piece.start, piece.stop)})
        kept = (2 + -(-share // window)) * lanes  # see `SliceReader`: what a batch touches, at a border, and one more a lane
        encoded[piece.loader] += int(kept * window * sample_bytes)
        most = batches_a_call(max(p.stop - p.start for p in cut if p.rank == piece.rank) * image.image_bytes)
        slots = calls_in_flight(prefetch, most) + 1  # and the one in use
        rows = (piece.stop - piece.start) * image.image_bytes * most * slots
        decoded[piece.loader] += rows
        in_flight += rows
    large = max(0, _largest_window(index, window) - int(window * sample_bytes))
    # Read buffers are up to a quarter larger than what is in them.
    return LoaderMemory(max(encoded) * 5 // 4, max(decoded), large * 5 // 4, in_flight)


def _largest_window(index: ShardIndex, window: int) -> int:
    """Bytes of the largest window in one of the largest shards; 0 where their offsets would have to be read from them."""
    if not has_offsets_at_hand(index.offsets):
        return 0
    most = 0
    for shard in heapq.nlargest(LARGE_SHARDS, range(len(index.shards)), key=lambda number: index.shards[number].size_bytes):
        offsets = sample_offsets(index, shard)
        samples = min(window, len(offsets) - 1)
        most = max(most, int((offsets[samples:] - offsets[:-samples]).max()))
    return most
