"""The measured side: a case in a process of its own that makes as many batches as it is asked for, and waits in between.

Nothing but the standard library, for it runs in several environments.
"""

import os
import sys
from collections.abc import Callable, Iterator

Batches = Callable[[], Iterator[int]]
"""Makes an endless iterator over batches; it yields the number of images in each."""


def serve(batches: Batches) -> None:
    """Reads numbers of images from standard input, one a line, makes at least so many and answers how many; 0 ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    endless = batches()
    for line in sys.stdin:
        wanted, seen = int(line), 0
        if not wanted:
            break
        while seen < wanted:
            seen += next(endless)
        print(seen, file=answers, flush=True)
    endless.close()  # pyright: ignore[reportAttributeAccessIssue]  # all cases are generators
