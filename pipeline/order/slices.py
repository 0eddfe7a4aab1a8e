"""Who takes which rows of a global batch: loaders and ranks cut the same rows into their own slices."""

from dataclasses import dataclass


def row_slice(batch_size: int, part: int, parts: int) -> tuple[int, int]:
    """Returns rows [start, stop) of a batch that belong to one of `parts` equal (up to one row) contiguous parts."""
    return part * batch_size // parts, (part + 1) * batch_size // parts


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows [start, stop) of every global batch that one loader makes for one rank."""

    loader: int
    rank: int
    start: int
    stop: int


def pieces(batch_size: int, num_loaders: int, num_ranks: int) -> list[Piece]:
    """Returns the non-empty overlaps of the loaders' slices and the ranks' slices of a batch, in row order.

    Every row stands in exactly one piece, so what each loader and rank handles follows from the two counts alone while
    the batch itself does not depend on them.

    Args:
        batch_size: Rows of a global batch; a multiple of num_ranks.
        num_loaders: Loader actors, at least 1; loaders beyond the batch size get no piece.
        num_ranks: Trainer ranks, at least 1.
    """
    found = []
    for rank in range(num_ranks):
        rank_start, rank_stop = row_slice(batch_size, rank, num_ranks)
        for loader in range(num_loaders):
            loader_start, loader_stop = row_slice(batch_size, loader, num_loaders)
            start, stop = max(rank_start, loader_start), min(rank_stop, loader_stop)
            if start < stop:
                found.append(Piece(loader, rank, start, stop))
    return found
