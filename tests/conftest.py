"""Shared by all tests: hypothesis without deadlines (the machine is noisy), and traces to draw from."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import hi_lib as hi

settings.register_profile("batch-hi", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("batch-hi")

# Confidences that hurt: both ends, ties, neighbours in floating point, and anything between.
HOSTILE = [0.0, 1.0, 0.5, 0.25, 0.75, 1e-300, float(np.nextafter(0.5, 1)), float(np.nextafter(1.0, 0))]


@st.composite
def traces(draw, max_size: int = 60) -> hi.Trace:
    """Short traces, hostile ones among them."""
    values = st.sampled_from(HOSTILE) | st.floats(0, 1, allow_subnormal=False)
    confidence = draw(st.lists(values, min_size=1, max_size=max_size))
    correct = draw(st.lists(st.booleans(), min_size=len(confidence), max_size=len(confidence)))
    return hi.Trace(confidence, correct)


costs = st.floats(0, 1)
batch_sizes = st.integers(1, 70)
