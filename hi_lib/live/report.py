"""What was measured on the wire, beside what the model predicts from the measured times of each stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hi_lib.live.device import Log, Plan
from hi_lib.live.link import Delay
from hi_lib.queueing import pipeline
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace

_WARM_UP = 0.05  # share of the samples at the start that do not count


@dataclass(frozen=True)
class Report:
    """Times in ms; `as_dict` is plain JSON.

    Attributes
    ----------
    measured, predicted : dict
        system_time, response_time, its p50, p95 and p99; measured has transmissions, accuracy and cost, too.
    stages : TimingModel
        Mean times of the stages as they were measured, from which `predicted` follows.
    framework : float
        What is left of a round trip, mean: neither link, nor L-ML.
    lost, stray : int
        Offloaded samples that kept their local answer, and messages that answered nothing.
    """

    measured: dict[str, float]
    predicted: dict[str, float]
    stages: TimingModel
    framework: float
    lost: int
    stray: int

    @property
    def residual(self) -> float:
        """How far the measured system time is from the predicted one, relatively."""
        return self.measured["system_time"] / self.predicted["system_time"] - 1

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "measured": self.measured,
            "predicted": self.predicted,
            "stages": vars(self.stages),
            "framework": self.framework,
            "residual": self.residual,
            "lost": self.lost,
            "stray": self.stray,
        }

    def as_text(self) -> str:
        """A few lines."""
        lines = [f"{'':16s}{'measured':>10s}{'predicted':>11s}"]
        lines += [f"{name:16s}{self.measured[name]:10.2f}{value:11.2f}" for name, value in self.predicted.items()]
        tau = self.stages
        return "\n".join(
            [
                *lines,
                f"stages (ms): device {tau.tau_ed:.2f}, sending {tau.tau_tx:.2f}, network {tau.tau_nw:.2f}, "
                f"server {tau.tau_es:.2f}; framework {self.framework:.2f} a transmission",
                f"system time off by {self.residual:+.1%}; {self.lost} answers lost, {self.stray} stray messages",
            ]
        )


def report(log: Log, delays: dict[int, Delay], trace: Trace, beta: float, plan: Plan) -> Report:
    """Compare a run with the model; `delays` are the link's.

    The prediction takes the offloads that came about, and the mean of each stage's measured times: what is left is what
    the model does not know (means in place of times that vary, and work that overlaps otherwise).
    """
    done = [one for one in log.transmissions if not one.lost]
    images = sum(one.offloads for one in done) or 1
    known = [delays[one.number] for one in done if one.number in delays]
    uplink = sum(delay.uplink for delay in known) / images
    network = _alone([delay.there + delay.back - delay.uplink for delay in known], plan)
    left = [one.round_trip - one.computing for one in done if one.number in delays]
    framework = _alone([rest - delay.there - delay.back for rest, delay in zip(left, known, strict=True)], plan)
    stages = TimingModel(
        tau_ed=(log.computing + log.learning) / log.started.size,
        tau_es=sum(one.computing for one in done) / images,
        tau_tx=uplink,
        tau_nw=network + framework,
    )
    model = pipeline(stages, log.offloaded, plan.batch_size, window=plan.window)
    skipped = int(_WARM_UP * log.started.size)
    kept = log.offloaded & ~log.lost
    right = np.where(kept, np.nan_to_num(log.lml_right), trace.correct[: kept.size])
    measured = _times(log.system_time, log.response_time[skipped:]) | {
        "transmissions": float(len(log.transmissions)),
        "accuracy": float(right.mean()),
        "cost": float((beta * log.offloaded + (1 - right) * ~kept).mean()),
    }
    predicted = _times(model.system_time, model.response_time[skipped:])
    return Report(measured, predicted, stages, framework, int(log.lost.sum()), log.stray)


def _alone(values: list[float], plan: Plan) -> float:
    """What a transmission takes that meets no other: the mean, or of a window a low quantile, since others wait."""
    if not values:
        return 0.0
    return max(0.0, float(np.mean(values) if plan.window is None else np.quantile(values, 0.1)))


def _times(system: float, responses: Any) -> dict[str, float]:
    quantiles = zip(("p50", "p95", "p99"), np.quantile(responses, [0.5, 0.95, 0.99]), strict=True)
    return {"system_time": system, "response_time": float(np.mean(responses))} | {k: float(v) for k, v in quantiles}
