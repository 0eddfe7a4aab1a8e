"""How many zeros a tar may end with: a hole that took the last members and the end marker reads as zeros, too."""

from pipeline.shards.tar_header import BLOCK_BYTES

_MARKER_BYTES = 2 * BLOCK_BYTES
_RECORD_BYTES = (20 * BLOCK_BYTES, *(BLOCK_BYTES << power for power in range(1, 40)))
"""Records that writers fill up: tar's own 20 blocks, and powers of two, to which disks and tapes also round."""


def is_usual_end(marker: int, size_bytes: int) -> bool:
    """Whether a tar ends as writers leave it: two blocks of zeros, or as many more as fill its last record.

    A hole that is shorter than a record can look just like that; nothing in the tar tells then.

    Args:
        marker: Where the zeros begin, in bytes.
        size_bytes: Size of the tar.
    """
    zeros = size_bytes - marker
    # Tars of other writers may end anywhere in their last block.
    if zeros < _MARKER_BYTES + BLOCK_BYTES:
        return True
    return any(size_bytes % record == 0 and zeros < _MARKER_BYTES + record for record in _RECORD_BYTES)
