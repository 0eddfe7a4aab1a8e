"""Reads objects again and again at a given rate, as a stream from there would: python benchmarks/pull.py FOLDER BYTES_PER_S"""

import itertools
import sys
import time

from pipeline import storage

RANGE_BYTES = 16 * 2**20


def main() -> None:
    """Reads until it is stopped."""
    folder, rate = sys.argv[1], float(sys.argv[2])
    objects = [found for found in storage.list_objects(folder) if found.url.endswith(".tar")]
    began_s, done = time.monotonic(), 0
    for found in itertools.cycle(objects):
        for first in range(0, found.size, RANGE_BYTES):
            done += len(storage.read_range(found.url, first, min(found.size, first + RANGE_BYTES)))
            time.sleep(max(0.0, began_s + done / rate - time.monotonic()))


if __name__ == "__main__":
    main()
