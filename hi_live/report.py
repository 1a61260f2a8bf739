"""What was measured on the wire, beside what the model predicts from the measured times of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hi_lib.events.queueing import Pipeline, mean_error, pipeline
from hi_lib.learners import Run
from hi_lib.regret import best_threshold
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats
from hi_live.device import Plan
from hi_live.link import Delay
from hi_live.log import Log, Transmission

WARM_UP = 0.05  # share of the samples at the start that do not count
ENOUGH = 0.05  # relative standard error of the mean response with which a run is long enough
_BLOCKS = 20
LEVELS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Stages:
    """Mean times of the stages as they were measured, ms, from which the prediction follows.

    Attributes
    ----------
    timing : TimingModel
        tau_ed holds S-ML, learner and all else that the device does for a sample; tau_nw the network as it came about
        and the framework.
    overhead : float
        What the device is busy with for a transmission.
    framework : float
        What is left of a round trip that meets no other: neither link, nor L-ML.
    serving : float
        The part of it for which the server is busy, and takes no other transmission.
    small, learner : float
        The S-ML's and the learner's parts of tau_ed.
    """

    timing: TimingModel
    overhead: float
    framework: float
    serving: float
    small: float
    learner: float

    def count(self, offloaded: Flags, sizes: tuple[int, ...], window: float | None) -> Pipeline:
        """When each sample would be answered with these times, for the offloads that came about."""
        way = replace(self.timing, tau_nw=max(0.0, self.timing.tau_nw - self.serving))
        return pipeline(way, offloaded, sizes, window=window, overhead=self.overhead, server_setup=self.serving)

    def as_dict(self) -> dict[str, float]:
        """Plain numbers."""
        own = {name: getattr(self, name) for name in ("small", "learner", "overhead", "framework", "serving")}
        return {name: float(value) for name, value in (self.timing.taus | own).items()}


@dataclass(frozen=True)
class Report:
    """Times in ms; `as_dict` is plain JSON.

    Attributes
    ----------
    measured : dict
        system_time, response_time with its quantiles over all samples and over the offloaded ones, transmissions,
        offload_ratio, accuracy, cost, regret, and rate (samples a second).
    predicted : dict
        The times again, counted for the offloads that came about (`queueing.pipeline`).
    expected : dict
        system_time and response_time before anything is drawn, by `TimingModel.of_run` for the same learner; only of a
        device that waits, with batches of one size or of one number of offloads.
    stages : Stages
    lost, stray : int
        Offloaded samples that kept their local answer, and messages that answered nothing.
    doubts : list of str
        Why the run proves little; empty where it is valid.
    """

    measured: dict[str, float]
    predicted: dict[str, float]
    expected: dict[str, float]
    stages: Stages
    lost: int
    stray: int
    doubts: list[str]

    @property
    def residual(self) -> float:
        """How far the measured system time is from the predicted one, relatively."""
        return self.measured["system_time"] / self.predicted["system_time"] - 1

    def beside(self, runs: Sequence[Run]) -> Report:
        """With the times, in `expected`, that replays of these samples take on average if the device waits."""
        found = [self.stages.timing.of_run(run) for run in runs]
        each = [
            (one.system_time + one.transmissions * self.stages.overhead / run.cost.size, one.response_time)
            for one, run in zip(found, runs, strict=True)
        ]
        system_time, response_time = np.mean(each, axis=0).tolist()
        return replace(self, expected={"system_time": system_time, "response_time": response_time})

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "measured": self.measured,
            "predicted": self.predicted,
            "expected": self.expected,
            "stages": self.stages.as_dict(),
            "residual": self.residual,
            "lost": self.lost,
            "stray": self.stray,
            "valid": not self.doubts,
            "doubts": self.doubts,
        }

    def as_text(self) -> str:
        """A few lines."""
        lines = [f"{'ms':24s}{'measured':>10s}{'predicted':>11s}{'expected':>11s}"]
        for name, value in self.predicted.items():
            before = f"{self.expected[name]:11.2f}" if name in self.expected else ""
            lines.append(f"{name:24s}{self.measured[name]:10.2f}{value:11.2f}{before}")
        tau, rest = self.stages.timing, [name for name in self.measured if name not in self.predicted]
        lines += [
            ", ".join(f"{name.replace('_', ' ')} {self.measured[name]:.4g}" for name in rest),
            f"stages (ms): device {tau.tau_ed:.3f} (S-ML {self.stages.small:.3f}, learner {self.stages.learner:.3f}), "
            f"sending {tau.tau_tx:.2f}, network {tau.tau_nw:.2f}, server {tau.tau_es:.2f}",
            f"of a transmission, the framework's part: {self.stages.framework:.2f} on the way "
            f"({self.stages.serving:.2f} of it with a busy server), {self.stages.overhead:.2f} on the device",
            f"system time off by {self.residual:+.1%}; {self.lost} answers lost, {self.stray} stray messages",
        ]
        return "\n".join([*lines, *(f"doubtful: {doubt}" for doubt in self.doubts)])


def report(log: Log, delays: dict[int, Delay], trace: Trace, beta: float, plan: Plan) -> Report:
    """Compare a run on the wire with the model.

    Parameters
    ----------
    log : Log
        Of at least one sample.
    delays : dict of int to Delay
        The link's.
    trace : Trace
        The samples of the run with their labels' word.
    beta : float
    plan : Plan
    """
    stages = stages_of(log, delays)
    sizes = tuple(log.sizes)
    model = stages.count(log.offloaded, sizes, plan.window)
    skipped = int(WARM_UP * log.started.size)
    measured = times_of(log.system_time, log.response_time, log, skipped) | _outcome(log, trace, beta)
    predicted = times_of(model.system_time, model.response_time, log, skipped)
    return Report(measured, predicted, {}, stages, int(log.lost.sum()), log.stray, _doubts(log, skipped))


def stages_of(log: Log, delays: dict[int, Delay]) -> Stages:
    """Mean times of the stages, from a log and what the link met."""
    done = [one for one in log.transmissions if not one.lost and one.number in delays]
    images = sum(one.offloads for one in done) or 1
    sent, samples = max(len(log.transmissions), 1), max(log.started.size, 1)
    # What is neither link nor L-ML; of a transmission that met no other, since others' images are not its own time.
    free = _unhindered(done, delays) or done
    framework = _mean([one.round_trip - one.computing - _on_link(one, delays) for one in free])
    serving = min(framework, _mean([one.resident - one.computing for one in done]))
    spent = log.spent
    timing = TimingModel(
        tau_ed=(log.ended - spent.waiting - spent.sending) / samples,
        tau_es=sum(one.computing for one in done) / images,
        tau_tx=sum(delays[one.number].uplink for one in done) / images,
        tau_nw=_mean([delays[one.number].network for one in done]) + framework,
    )
    own = spent.small / samples, spent.learning / samples
    return Stages(timing, spent.sending / sent, framework, serving, *own)


def _unhindered(done: list[Transmission], delays: dict[int, Delay]) -> list[Transmission]:
    """Those that found the uplink free, and came to the server when the last answer before them had left it."""
    found, busy_until = [], 0.0
    for one in sorted(done, key=lambda one: one.sent):
        delay = delays[one.number]
        if delay.waited == 0 and one.sent + delay.there >= busy_until:
            found.append(one)
        busy_until = max(busy_until, one.sent + one.round_trip - delay.back)
    return found


def _on_link(one: Transmission, delays: dict[int, Delay]) -> float:
    return delays[one.number].there + delays[one.number].back


def _mean(values: list[float]) -> float:
    return max(0.0, float(np.mean(values))) if values else 0.0


def times_of(system: float, responses: Floats, log: Log, skipped: int) -> dict[str, float]:
    """System time, and mean and quantiles of the response time without the first so many samples, ms."""
    found = {"system_time": float(system), "response_time": float(responses[skipped:].mean())}
    for suffix, kept in (("", responses[skipped:]), ("_offloaded", responses[skipped:][log.offloaded[skipped:]])):
        if kept.size:
            found |= {f"{name}{suffix}": float(np.quantile(kept, level)) for name, level in LEVELS.items()}
    return found


def _outcome(log: Log, trace: Trace, beta: float) -> dict[str, float]:
    """What the answers were worth: by the labels, and lost offloads with the local answer."""
    answered = log.offloaded & ~log.lost
    right = np.where(answered, np.nan_to_num(log.lml_right), trace.correct)
    # β for what was sent, whether an answer came or not, and the error where the local answer is the final one.
    cost = beta * log.sent + ~answered * (1.0 - trace.correct)
    best = best_threshold(trace, beta)
    return {
        "rate": 1000 / log.system_time,
        "transmissions": float(len(log.transmissions)),
        "offload_ratio": float(log.offloaded.mean()),
        "accuracy": float(right.mean()),
        "cost": float(cost.mean()),
        "regret": float(cost.sum() - cost.size * best.average_cost),
    }


def _doubts(log: Log, skipped: int) -> list[str]:
    doubts, kept = [], log.response_time[skipped:]
    if log.interrupted:
        doubts.append("the run was stopped before its end")
    if kept.size < 2 * _BLOCKS:
        return [*doubts, f"{log.started.size} samples are too few to tell a standard error"]
    error = mean_error(kept, kept.size // _BLOCKS) / kept.mean()
    if error > ENOUGH:
        doubts.append(f"the mean response has a standard error of {error:.0%}: more than {ENOUGH:.0%}, run longer")
    return doubts
