"""Memory that a process frees stays in it, for networks free and take the same large tensors at every step."""

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h
_KEEP_BYTES = 64 << 20  # the most one of glibc's heaps for threads has, which it unmaps as soon as less than this is in use
_NEVER = -1


def keep_freed_memory() -> bool:
    """Tells the C library's allocator not to give freed memory back, once in a process that runs networks.

    By default tensors of some megabytes go back to the kernel when they are freed, and it gives and clears new pages for the
    next ones: some 400 page faults an image, 5% of the time of a small U-Net (`benchmarks/generate.py`). The process then keeps
    what it needed at its peak, be that a step or a checkpoint. Where networks run on a GPU there is nothing to win.

    Returns:
        Whether the C library knows the settings (glibc does); the process goes on as it was otherwise.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _KEEP_BYTES))
    return all([tell(name, value) == 1 for name, value in settings])
