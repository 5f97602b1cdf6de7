"""Memory of a process: what the C library keeps, and what the garbage collector looks at.

glibc keeps freed memory in an arena for each thread. What a thread needed once, such as the parts
of a model that is loaded, stays with the process although nothing uses it. By default up to 64 MiB
stay at the end of each arena, which `malloc_trim` does not return.
"""

import ctypes
import gc
import traceback
from functools import cache
from typing import Any

#: Parameters of glibc's `mallopt`: from which size a block has pages of its own, which are returned
#: as soon as it is freed, and how much may stay free at the end of an arena, in bytes. Unless they
#: are set, they grow with the blocks that are freed.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
OWN_PAGES_BYTES, FREE_END_BYTES = 4 * 1024**2, 4 * 1024**2


def keep_little_memory() -> None:
    """Let the C library return freed memory early. Only the start of a process calls this."""
    choose = getattr(_c_library(), "mallopt", None)
    if choose is not None:
        choose(M_MMAP_THRESHOLD, OWN_PAGES_BYTES)
        choose(M_TRIM_THRESHOLD, FREE_END_BYTES)


def exempt_objects() -> None:
    """Exempt all present objects from garbage collection, as those of imported modules.

    A full collection looks at each object, which takes a tenth of a second and stops all threads.
    Exempt objects that refer to each other in a cycle stay until the process ends; the others are
    freed with their last reference, as always.
    """
    gc.freeze()


def return_free_memory() -> None:
    """Return freed memory to the operating system, which takes milliseconds.

    A C library other than glibc does it by itself.
    """
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def forget_variables(error: BaseException) -> None:
    """Free what the functions that raised an error and its causes held in local variables.

    An error that is still being handled keeps them, such as a model that was loaded in part.
    """
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


@cache
def _c_library() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
