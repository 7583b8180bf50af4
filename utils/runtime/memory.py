"""Settings of glibc's malloc."""

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Make malloc keep large freed buffers on the heap, for the next step.

    By default glibc maps pages for each large tensor and returns them to the system when it is freed: on a CPU, every
    training step then faults all its pages in again. Does nothing with another C library.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
