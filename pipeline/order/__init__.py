"""Which sample comes when: pure functions of (shard sizes, seed, batch size), without torch, Ray or I/O."""

from pipeline.order.answers import OrderConfig, Place, Rows, Segment, Stretch
from pipeline.order.chances import chances
from pipeline.order.cursor import Cursor
from pipeline.order.keys import key64
from pipeline.order.lanes import WindowSpan, default_lanes
from pipeline.order.mixture import MixtureOrder
from pipeline.order.permutation import permute
from pipeline.order.plan import StreamOrder
from pipeline.order.replacement import replacement
from pipeline.order.slices import Piece, pieces, row_slice

Order = StreamOrder | MixtureOrder
"""The order of one data set or of several; all that readers ask of either is the same."""

__all__ = [
    "Cursor",
    "MixtureOrder",
    "Order",
    "OrderConfig",
    "Piece",
    "Place",
    "Rows",
    "Segment",
    "StreamOrder",
    "Stretch",
    "WindowSpan",
    "chances",
    "default_lanes",
    "key64",
    "permute",
    "pieces",
    "replacement",
    "row_slice",
]
