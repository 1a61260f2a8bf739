"""Types that the whole library shares."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Samples = NDArray[np.intp]  # their numbers
Progress = Callable[[int], None]
Bytes = bytes | memoryview
