"""A device with a queue, compiled: when each sample is answered if samples arrive at given times."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def responses(offloaded, arrivals, batch_size, tau_ed, tau_nw, service):  # type: ignore[no-untyped-def]
    """Response times, shape (n,), ms: the device takes samples in order, and waits for the answers of every batch."""
    answered = np.empty(arrivals.size)
    now = 0.0
    for first in range(0, arrivals.size, batch_size):
        last, sent = min(first + batch_size, arrivals.size), 0
        for sample in range(first, last):
            now = max(now, arrivals[sample]) + tau_ed
            answered[sample] = now
            sent += offloaded[sample]
        if sent:
            now += tau_nw + sent * service
            for sample in range(first, last):
                if offloaded[sample]:
                    answered[sample] = now
    return answered - arrivals
