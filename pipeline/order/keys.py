"""Keys for pseudorandom choices, mixed by a real hash so that neighbouring seeds share nothing."""

import hashlib


def key64(*parts: int | str) -> int:
    """Returns a 64-bit key for a tuple of integers and strings.

    Parts are length-prefixed and typed before hashing, so ("ab", "c") and ("a", "bc"), or 1 and "1", give
    unrelated keys. The value is the same on every machine and Python version.

    Args:
        parts: What the key stands for, for example (seed, "window", epoch, lane, window).

    Returns:
        An integer in [0, 2**64).
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        kind = b"i" if isinstance(part, int) else b"s"
        data = str(part).encode()
        digest.update(kind + len(data).to_bytes(4, "little") + data)
    return int.from_bytes(digest.digest(), "little")
