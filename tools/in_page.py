"""Cases of which the scripts of the page "Decide" must say what hi_lib says; in_page.js asks them, in node."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

import hi_lib as hi
from hi_lib.advise.recommendation import Recommendation
from hi_lib.advise.recommending import from_log, recommend
from hi_lib.advise.ways import Conditions
from hi_lib.forecaster import Forecaster

SCRIPT = Path(__file__).with_suffix(".js")
LOGS, RATIOS, LONG = 20, 8, 1200
RATE = 50e6  # bits a second
REPLAYS = [
    *((0.5, 1, None, 0), (0.3, 7, 0.4, 0), (0.9, 64, None, 0), (0.1, 1, None, 50), (0.7, 4, None, 10)),
    *((0.0, 3, 5.0, 0), (1.0, 5000, None, 0), (0.5, 1, 30.0, 3), (0.5, 1, "adaptive", 0), (0.3, 16, "adaptive", 0)),
]
HEAD, MOST = "confidence,correct\n", 20_000
# Tables that a reader may drop on the page, and what it makes of them.
TABLES: list[tuple[str, Any]] = [
    (f"{HEAD}0.5,1\n\n  \n1,0\n", [[0.5, 1], [True, False], 0]),
    ('\ufeffname;Correct;CONFIDENCE\r\na;true;"0.25"\r\nb;0.0;0', [[0.25, 0], [True, False], 0]),
    (HEAD + "0.5,1\n" * (MOST + 3), [[0.5] * MOST, [True] * MOST, 3]),
    ("correct,p\n1,0.5\n", "the first line must name the columns confidence and correct"),
    (HEAD, "there is no sample below the first line"),
    (f"{HEAD}0.5,1\n1.5,1\n", 'line 3: confidence must be a number from 0 to 1, got "1.5"'),
    (f"{HEAD}-0.1,1\n", 'line 2: confidence must be a number from 0 to 1, got "-0.1"'),
    (f"{HEAD},1\n", 'line 2: confidence must be a number from 0 to 1, got ""'),
    (f"{HEAD}0.5,2\n", 'line 2: correct must be 1 or 0, got "2"'),
]


def write(path: Path, seed: int = 0) -> None:
    """Draw cases, and write them with what hi_lib says."""
    rng = np.random.default_rng(seed)
    names = itertools.cycle(hi.list_traces(own=False))
    logs = [_log(rng, hi.load_trace(next(names)).shuffled(k), k) for k in range(LOGS)]
    logs += [_learned(rng), _hurried()]
    ratios = [*(_ratio(rng, k) for k in range(RATIOS)), _rare()]
    replays = [_replay(hi.load_trace(next(names)).shuffled(k), *each) for k, each in enumerate(REPLAYS)]
    sure = hi.Trace(np.ones(40), np.arange(40) % 3 > 0)  # no threshold tells its samples apart
    replays += [_replay(sure, 0.4, 4, eta, 0) for eta in ("adaptive", None)]
    tables = [{"given": text, "expected": found} for text, found in TABLES]
    path.write_text(json.dumps({"advice": logs + ratios, "replays": replays, "tables": tables}), encoding="utf-8")


def _log(rng: np.random.Generator, trace: hi.Trace, k: int) -> dict[str, Any]:
    n = int(rng.integers(50, 300))
    lml = None if trace.lml_correct is None or k % 3 == 0 else trace.lml_correct[:n]
    log = hi.Trace(trace.confidence[:n], trace.correct[:n], lml)
    devices = int(rng.integers(2, 12)) if k % 5 == 2 else 1
    deadline = float(rng.uniform(20, 300)) if k % 4 == 1 else None
    gap = float(rng.uniform(5, 400)) if devices == 1 and k % 3 == 1 else None
    conditions = Conditions(
        deadline=deadline,
        miss=0.05 if deadline is None else 0.1,
        window=[None, 2, math.inf][int(rng.integers(3))],
        unit="samples" if k % 6 == 5 else "offloads",
        rate=RATE,
        devices=devices,
        arrivals=None if gap is None else np.arange(n) * gap,
        price=float(rng.uniform(0, 0.3)) if k % 5 == 0 else 0.0,
    )
    timing, beta = hi.TimingModel(*rng.uniform(0.1, 30, 4)), float(rng.uniform(0.02, 0.6))
    alpha = None if deadline is not None and k % 2 else float(rng.uniform(0.1, 0.95))
    return _of_log(log, beta, alpha, timing, conditions, gap)


def _learned(rng: np.random.Generator) -> dict[str, Any]:
    """A log for which a learner is best: calibrated at first, in its second half right only where it is sure."""
    confidence, late = rng.uniform(0.3, 1, LONG), np.arange(LONG) >= LONG // 2
    right = rng.random(LONG) < np.where(late, np.where(confidence < 0.8, 0.1, 0.98), confidence)
    log = hi.Trace(confidence, right, rng.random(LONG) < 0.95)
    return _of_log(log, 0.3, 0.5, hi.TimingModel(1.5, 4.0, 1.0, 90.0), Conditions(rate=RATE, miss=0.2))


def _hurried() -> dict[str, Any]:
    """A deadline that leaves less time to wait for another offload than that would take."""
    whole, gap = hi.load_trace("cifar10-alexnet"), 15.0
    log = hi.Trace(whole.confidence[:LONG], whole.correct[:LONG], whole.lml_correct[:LONG])  # type: ignore[index]
    conditions = Conditions(rate=RATE, deadline=100.0, miss=0.2, arrivals=np.arange(LONG) * gap)
    return _of_log(log, 0.02, 0.95, hi.TimingModel(1.0, 1.0, 1.0, 60.0), conditions, gap)


def _of_log(
    log: hi.Trace,
    beta: float,
    alpha: float | None,
    timing: hi.TimingModel,
    conditions: Conditions,
    gap: float | None = None,
) -> dict[str, Any]:
    found, _ = from_log(log, beta, timing, conditions, alpha)
    given = {"confidence": log.confidence.tolist(), "correct": log.correct.astype(int).tolist()}
    given |= {"lml": None if log.lml_correct is None else log.lml_correct.tolist(), "ratio": None}
    return _case(given, found, beta, alpha, timing, conditions, gap)


def _ratio(rng: np.random.Generator, k: int) -> dict[str, Any]:
    deadline = float(rng.uniform(20, 300)) if k % 4 == 1 else None
    conditions = Conditions(
        deadline=deadline,
        window=[None, 2, math.inf][k % 3],
        devices=int(rng.integers(2, 12)) if k % 5 == 2 else 1,
        rate=RATE,
    )
    timing, beta, alpha = (
        hi.TimingModel(*rng.uniform(0.1, 30, 4)),
        float(rng.uniform(0.02, 0.6)),
        rng.uniform(0.1, 0.95),
    )
    ratio, calibrated = float(rng.random()), bool(k % 4)
    found = recommend(ratio, timing, alpha=float(alpha), conditions=conditions, beta=beta, calibrated=calibrated)
    given = {"confidence": [], "correct": [], "lml": None, "ratio": ratio, "calibrated": calibrated}
    return _case(given, found, beta, float(alpha), timing, conditions, None)


def _rare() -> dict[str, Any]:
    """So few offloads that with twice as many another number of them would be sent at once than with all."""
    timing, alpha, ratio, beta = hi.TimingModel(5.0, 4.0, 5.0, 90.0), 0.9, 0.02, 0.3
    conditions = Conditions(rate=RATE, connection="warm")
    found = recommend(ratio, timing, alpha=alpha, conditions=conditions, beta=beta, calibrated=True)
    given = {"confidence": [], "correct": [], "lml": None, "ratio": ratio, "calibrated": True}
    return _case(given, found, beta, alpha, timing, conditions, None)


def _case(
    given: dict[str, Any],
    found: Recommendation,
    beta: float,
    alpha: float | None,
    timing: hi.TimingModel,
    conditions: Conditions,
    gap: float | None,
) -> dict[str, Any]:
    of_page = {name: getattr(conditions, name) for name in ("deadline", "miss", "unit", "rate", "devices", "price")}
    of_page |= {"window": _finite(conditions.window), "gap": gap, "connection": conditions.connection}
    given |= {"beta": beta, "alpha": alpha, "timing": timing.taus, "conditions": of_page}
    return {"given": given, "expected": _plain(found)}


def _plain(found: Recommendation) -> dict[str, Any]:
    row = found.sent
    times = None if row is None else [row.system_time, row.response_time, row.p95, _finite(row.late)]
    way = None if row is None else [row.way.size, _finite(row.way.longest_wait), _finite(row.way.window)]
    return {
        "policy": found.policy,
        "threshold": _finite(found.threshold),
        "keepsUp": found.keeps_up,
        "cost": found.cost,
        "ratio": found.offload_ratio,
        "nextPolicy": found.next_policy,
        "assumption": found.assumption,
        "waitingCosts": found.waiting_costs,
        "never": found.against_never and list(found.against_never),
        "next": found.against_next and list(found.against_next),
        "changes": [list(change) for change in found.changes],
        "lines": found.as_lines(),
        "way": way,
        "times": None if row is None else [*times, row.transmissions, row.cold, row.idle],  # type: ignore[misc]
    }


def _replay(trace: hi.Trace, beta: float, size: int, eta: float | str | None, delay: int) -> dict[str, Any]:
    trace = hi.Trace(trace.confidence[:600], trace.correct[:600])
    run = hi.replay(trace, beta, size, learning_rate="tuned" if eta is None else eta, delay=delay)
    given = {"confidence": trace.confidence.tolist(), "correct": trace.correct.astype(int).tolist()}
    drawn = not delay and eta != "adaptive" and run.learning_rate > 0
    given |= {"beta": beta, "size": size, "eta": eta, "delay": delay, "drawn": drawn}
    expected = {"offload": run.offload_probability.tolist(), "averageCost": run.average_cost, "regret": run.regret}
    expected |= {"eta": run.learning_rate, "bound": run.regret_bound}
    expected["theta"] = _threshold(trace, beta, size, run.learning_rate) if drawn else None
    expected |= {"exposure": (exposure := _exposure(len(trace), size, delay)), "boundSoFar": run.regret_bound}
    if eta != "adaptive" and run.learning_rate:  # so far, batches count as they are, the last one shorter
        expected["boundSoFar"] = (
            math.log(1 / hi.lambda_min(trace)) / run.learning_rate + run.learning_rate * exposure / 8
        )
    return {"given": given, "expected": expected}


def _threshold(trace: hi.Trace, beta: float, size: int, rate: float) -> float:
    """θ of the last batch, where three tenths of the weight end: a quarter of its cell from the cell's lower end."""
    forecaster, known = Forecaster(trace.confidence), len(trace) - (len(trace) % size or min(size, len(trace)))
    forecaster.update(trace.confidence[:known], beta - ~trace.correct[:known])
    passed = np.cumsum(forecaster.weights(rate))
    low, high = forecaster.edges[np.searchsorted(passed, 0.3 * passed[-1], side="right") :][:2]
    return float(low + (high - low) / 4)


def _exposure(n: int, size: int, delay: int) -> int:
    """Σ (1 + 2 g): g samples were decided before a sample, and not heard of when its batch began."""
    number = np.arange(n)
    begins = number - number % size
    heard = (np.minimum(begins + size, n) + delay)[None, :] <= begins[:, None]
    return int((1 + 2 * (number - heard.sum(axis=1))).sum())


def _finite(value: float | None) -> float | str | None:
    """As JSON has it: there is no infinity, and what is nan is not there."""
    if value is None or math.isnan(value):
        return None
    return "inf" if math.isinf(value) else float(value)
