"""How much memory loaders take."""

from dataclasses import dataclass

from pipeline.order import StreamOrder, pieces
from pipeline.shards import ShardIndex
from pipeline.stream.config import ImageSpec
from pipeline.stream.reader import windows_kept


@dataclass(frozen=True, slots=True)
class LoaderMemory:
    """Memory beyond that of the process itself, in bytes; of the loader that takes most."""

    encoded: int
    """Encoded samples of the windows at hand and of the next ones, where samples are of average size."""
    decoded: int
    """The answer that is being made."""

    @property
    def bytes_per_loader(self) -> int:
        """All of it."""
        return self.encoded + self.decoded


def loader_memory(
    index: ShardIndex, order: StreamOrder, image: ImageSpec, *, num_loaders: int, num_ranks: int, handover_bytes: int
) -> LoaderMemory:
    """Returns what a loader takes at most, whatever the size of the data set.

    Args:
        index: The data set.
        order: Its order.
        image: What images are decoded to.
        num_loaders: Loaders that share the batch.
        num_ranks: Ranks that it is made for.
        handover_bytes: Bytes of an answer, where a single batch is smaller.
    """
    sample_bytes = index.size_bytes / index.num_samples
    config = order.config
    window = min(config.window, -(-order.num_samples // config.lanes))
    encoded, decoded = [0] * num_loaders, [0] * num_loaders
    for piece in pieces(config.batch_size, num_loaders, num_ranks):
        kept = windows_kept(order, len(order.lane_parts(piece.start, piece.stop)))
        encoded[piece.loader] += int(kept * window * sample_bytes)
        batch = (piece.stop - piece.start) * image.image_bytes
        decoded[piece.loader] = max(decoded[piece.loader], batch, min(handover_bytes + batch, 64 * batch))
    return LoaderMemory(max(encoded), max(decoded))
