"""Memory that msprime frees and takes again for every window."""

from __future__ import annotations

import ctypes
from functools import cache

_MIB = 1 << 20


@cache
def keep_freed_memory() -> bool:
    """Let the C library keep freed blocks of up to 32 MiB, 64 MiB in all, instead of handing them back to the kernel.

    A new msprime simulator takes some 6 MB. Handed back and faulted in again for every window, that memory costs
    as much time as the window. The limits are those which glibc's own adaptation may reach. Returns whether it
    was possible: other C libraries have no such setting and need none.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(mmap_threshold, 32 * _MIB) and mallopt(trim_threshold, 64 * _MIB))
