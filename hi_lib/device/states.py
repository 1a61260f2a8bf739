"""What a learner's state may hold: every value is checked before it is believed, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hi_lib import checks
from hi_lib.typing import Flags, Floats

_MOST = 1e300
_WORD, _LONG = 2**32, 2**128


class Decided(NamedTuple):
    """Samples that wait for their feedback, arrays of shape (m,): p, whether offloaded, how much a mistake counts.

    The last may have shape (1,), for all.
    """

    confidence: Floats
    offload: Flags
    weight: Floats


def joined(calls: Sequence[Decided]) -> Decided:
    """All of these samples, in order."""
    if len(calls) == 1:
        return calls[0]
    if not calls:
        return Decided(np.empty(0), np.empty(0, np.bool_), np.empty(0))
    each = [call._replace(weight=np.broadcast_to(call.weight, call.confidence.shape)) for call in calls]
    return Decided(*(np.concatenate(part) for part in zip(*each, strict=True)))


class Begun(NamedTuple):
    """A batch that has begun."""

    threshold: float
    """Its θ."""
    closed: int
    """How many samples had been heard of, or forgotten, when θ was drawn."""


class Spent(NamedTuple):
    """What samples that were decided together mean for a budget."""

    multiplier: float
    """λ when they were decided."""
    over: float
    """Σ (q_t − B) over them."""
    samples: int


NOTHING = Spent(0.0, 0.0, 0)  # where there is no budget


def part(state: dict[str, Any], name: str, kind: type) -> Any:
    """The part of this name, which must be there and of this type."""
    found = state.get(name)
    if not isinstance(found, kind):
        raise ValueError(f"state's {name} must be a {kind.__name__}, got {checks.shown(found)}")
    return found


def number(state: dict[str, Any], name: str, low: float = 0.0, high: float = _MOST) -> float:
    """A number of a state, in [low, high]."""
    return checks.real(f"state's {name}", state.get(name), low, high)


def count(state: dict[str, Any], name: str, low: int = 0) -> int:
    """A whole number of a state, of at least `low`."""
    return checks.whole(f"state's {name}", state.get(name), low)


def generator(state: dict[str, Any]) -> dict[str, Any]:
    """The state of NumPy's generator; its integers of 128 bits are text, since other readers of JSON know none."""
    random = part(state, "random", dict)
    words = {name: _long(part(random, "state", dict), name) for name in ("state", "inc")}
    name = random.get("bit_generator")
    rest = count(random, "has_uint32"), count(random, "uinteger")
    if name != "PCG64" or words["inc"] % 2 == 0 or rest[0] > 1 or rest[1] >= _WORD:
        raise ValueError(f"state's random must be that of a generator PCG64, got {checks.shown(random)}")
    return {"bit_generator": name, "state": words, "has_uint32": rest[0], "uinteger": rest[1]}


def tickets(state: dict[str, Any], levels: int | None) -> dict[int, Decided]:
    """What is decided and not heard, by the numbers of the tickets, which are whole, as text."""
    found = part(state, "tickets", dict)
    if not all(isinstance(each, str) and each.isdecimal() and str(int(each)) == each for each in found):
        raise ValueError(f"state's tickets must be numbered, got {checks.shown(list(found))}")
    return {int(each): decided(f"ticket {each}", parts, levels) for each, parts in found.items()}


def begun(state: dict[str, Any], closed: int) -> Begun | None:
    """The batch that has begun: its θ, and how many of the samples that are `closed` now were so then."""
    if state.get("batch") is None:
        return None
    found = part(state, "batch", list)
    if len(found) != 2:
        raise ValueError(f"state's batch must be a threshold and a number of samples, got {checks.shown(found)}")
    then = checks.whole("state's batch[1]", found[1], low=0)
    if then > closed:
        raise ValueError(f"state's batch[1] must be at most {closed}, got {then}")
    return Begun(checks.real("state's batch[0]", found[0], 0, 1), then)


def decided(where: str, parts: Any, levels: int | None) -> Decided:
    """Samples with a decision: lists of confidences, of true or false, and of weights."""
    if not isinstance(parts, list) or len(parts) != 3 or not all(isinstance(each, list) for each in parts):
        raise ValueError(f"state's {where} must be three lists, got {checks.shown(parts)}")
    confidence = checks.vector(f"state's {where}: confidence", parts[0])
    offload = checks.flags(f"state's {where}: offload", parts[1], confidence.size)
    weight = checks.reals(f"state's {where}: weight", parts[2], 0, _MOST)
    if weight.shape not in ((1,), confidence.shape):
        raise ValueError(f"state's {where}: weight must be one number, or one a sample, got {weight.size}")
    if levels is not None and (on_grid(confidence.copy(), levels) != confidence).any():
        raise ValueError(f"state's {where}: confidence must hold multiples of 1/{levels}")
    return Decided(confidence, offload, weight)


def spent(state: dict[str, Any], tickets: dict[int, Decided], most: float) -> dict[int, Spent]:
    """What the samples of each ticket mean for a budget: λ, at most Λ, their excess, and how many they are."""
    found = part(state, "spent", dict)
    if found.keys() != {str(each) for each in tickets}:
        raise ValueError(f"state's spent must hold the numbers of its tickets, got {checks.shown(list(found))}")
    return {each: _spent(found[str(each)], ticket.confidence.size, most) for each, ticket in tickets.items()}


def _spent(parts: Any, samples: int, most: float) -> Spent:
    if not isinstance(parts, list) or len(parts) != 3 or parts[2] != samples:
        raise ValueError(f"state's spent must be λ, an excess, and how many samples, got {checks.shown(parts)}")
    multiplier = checks.real("state's spent[0]", parts[0], 0, most)
    return Spent(multiplier, checks.real("state's spent[1]", parts[1], -samples, samples), samples)


def on_grid(confidence: Floats, levels: int) -> Floats:
    """Confidences rounded down to multiples of 1/levels: to the largest double k/levels that is not above them."""
    if confidence.size == 1:  # the usual case on a device, several times faster so
        confidence[0] = _down(confidence.item(), levels)
        return confidence
    down = np.floor(confidence * levels)
    # The product may have been rounded across a whole number, in either direction.
    down -= down / levels > confidence
    down += (down + 1) / levels <= confidence
    return down / levels


def _down(confidence: float, levels: int) -> float:
    """`on_grid` of a single number."""
    down = math.floor(confidence * levels)
    down -= down / levels > confidence
    down += (down + 1) / levels <= confidence
    return down / levels


def _long(state: dict[str, Any], name: str) -> int:
    text = part(state, name, str)
    if not text.isdecimal() or len(text) > 39 or int(text) >= _LONG:
        raise ValueError(f"state's {name} must be an integer below 2^128, as text, got {checks.shown(text)}")
    return int(text)
