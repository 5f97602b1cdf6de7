"""Response times of a model without the load of other programs on the machine.

A training often shares its machine, and a wall clock then measures the other programs: a sound
release took 868 instead of 240 ms. CPU time does not count the time in which others ran, but adds
up the time of all threads, which work at once. So it is divided by the number of cores that the
model keeps busy where it is disturbed least.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def undisturbed(wall: ArrayLike, cpu: ArrayLike) -> NDArray[np.float64]:
    """Return the duration of each call without the load of other programs, shape `(calls,)`.

    On an idle machine that is the wall time.

    Args:
        wall: Wall time of each call, shape `(calls,)`, in any unit.
        cpu: CPU time of all threads of the process in each call, in the same unit.
    """
    passed, used = np.asarray(wall, np.float64), np.asarray(cpu, np.float64)
    cores = (used / np.maximum(passed, 1e-12)).max()
    found: NDArray[np.float64] = np.minimum(passed, used / max(1.0, float(cores)))
    return found
