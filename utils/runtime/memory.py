"""glibc's malloc, told to keep what is freed."""

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Large buffers come from the heap and stay there when freed, for the next step.

    By default glibc gives each large tensor pages of its own and returns them: on a CPU, every step of training
    then faults all its pages in again. Does nothing where the C library is another one.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
