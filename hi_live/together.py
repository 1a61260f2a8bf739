"""What several devices at one server measured, beside what the simulation of the crowd says for the same offloads."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hi_lib.events.simulation import Listed, simulate
from hi_lib.timing import TimingModel
from hi_live.link import Delay
from hi_live.log import Log, Transmission
from hi_live.report import WARM_UP, Stages, stages_of, times_of
from hi_live.runs import Ran
from hi_live.server import IN_TURN, Service

_ENOUGH = 20  # transmissions that met no other
_LEAST_SHARE = 0.1  # of the transmissions, those that waited least, where too few met no other


class Shared(NamedTuple):
    """What devices have in common, and how each of them goes on."""

    service: Service = IN_TURN
    window: float | None = None
    uplink: bool = False
    image_time: float | None = None
    """Time of an image on the way to the server that no link of a device's own takes, ms, if there is such a way."""
    rtt: float = 0.0
    """Round trip of an empty packet on that way, ms."""


@dataclass(frozen=True)
class Together:
    """Times in ms; `as_dict` is plain JSON.

    Attributes
    ----------
    devices : list of dict
        Of each device: measured, as in a device's own report, simulated, residual (how far the measured system time is
        from the simulated one, relatively), lost, stray and doubts.
    measured, simulated : dict
        Means of the system and response time over the devices.
    stages : Stages
        Means over all devices, from which the simulation follows.
    busy : float
        Share of the time, until the last device ended, for which the server computed.
    """

    devices: list[dict[str, Any]]
    measured: dict[str, float]
    simulated: dict[str, float]
    stages: Stages
    busy: float

    @property
    def residual(self) -> float:
        """How far the measured system time is from the simulated one, relatively, in the mean over the devices."""
        return self.measured["system_time"] / self.simulated["system_time"] - 1

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "devices": self.devices,
            "measured": self.measured,
            "simulated": self.simulated,
            "residual": self.residual,
            "stages": self.stages.as_dict(),
            "server_busy": self.busy,
            "valid": not any(each["doubts"] for each in self.devices),
        }

    def as_text(self) -> str:
        """A line a device, and a few for all."""
        lines = [f"{'ms':10s}{'t_s':>8s}{'simulated':>11s}{'off':>8s}{'t_r':>9s}{'simulated':>11s}{'offloads':>10s}"]
        for number, each in enumerate(self.devices):
            lines.append(_line(f"device {number}", each) + f"{each['measured']['offload_ratio']:10.1%}")
        lines.append(_line("mean", self.as_dict()))
        tau, stages = self.stages.timing, self.stages
        lines += [
            f"stages (ms): device {tau.tau_ed:.3f}, sending {tau.tau_tx:.2f}, network {tau.tau_nw:.2f}, server "
            f"{tau.tau_es:.2f}; of a transmission {stages.serving:.2f} with a busy server, {stages.overhead:.2f} on "
            "the device",
            f"the server computed for {self.busy:.0%} of the time; {self._sum('lost')} answers lost, "
            f"{self._sum('stray')} stray messages",
        ]
        doubts = [f"doubtful: device {at}: {doubt}" for at, each in enumerate(self.devices) for doubt in each["doubts"]]
        return "\n".join([*lines, *doubts])

    def _sum(self, name: str) -> int:
        return sum(each[name] for each in self.devices)


def _line(name: str, found: dict[str, Any]) -> str:
    measured, simulated = found["measured"], found["simulated"]
    system = f"{measured['system_time']:8.2f}{simulated['system_time']:11.2f}{found['residual']:+8.1%}"
    return f"{name:10s}{system}{measured['response_time']:9.2f}{simulated['response_time']:11.2f}"


def together(rans: Sequence[Ran], shared: Shared) -> Together:
    """Compare several runs that began at the same time, at one server, with the simulation of them all.

    The stages are means over the devices. What neither link nor L-ML takes of a round trip is measured where nobody
    else was at the server, or, if that was too rare, where the wait was shortest.
    """
    logs = [ran.log for ran in rans]
    delays = [_on_the_way(ran, shared) for ran in rans]
    stages = _stages(logs, delays, shared)
    timing = replace(stages.timing, tau_nw=max(0.0, stages.timing.tau_nw - stages.serving))
    model = simulate(
        timing,
        [log.offloaded for log in logs],
        [Listed(log.sizes) for log in logs],
        window=shared.window,
        overhead=stages.overhead,
        server_setup=stages.serving,
        devices=len(logs),
        shared_uplink=shared.uplink,
        in_turn=shared.service.in_turn,
        merge=shared.service.merge,
        merge_wait=shared.service.merge_wait,
    )
    devices = []
    for ran, system, responses in zip(rans, model.system_times.tolist(), model.response_times, strict=True):
        simulated = times_of(system, responses, ran.log, int(WARM_UP * responses.size))
        own = {"measured": ran.report.measured, "simulated": simulated, "doubts": ran.report.doubts}
        off = ran.report.measured["system_time"] / system - 1
        devices.append({**own, "residual": off, "lost": ran.report.lost, "stray": ran.report.stray})
    computing = sum(one.computing for log in logs for one in log.transmissions)
    busy = computing / max(log.ended for log in logs)
    return Together(devices, _means(devices, "measured"), _means(devices, "simulated"), stages, busy)


def _means(devices: Sequence[dict[str, Any]], kind: str) -> dict[str, float]:
    return {name: float(np.mean([each[kind][name] for each in devices])) for name in ("system_time", "response_time")}


def _on_the_way(ran: Ran, shared: Shared) -> dict[int, Delay]:
    """What each transmission met on the link; where that emulates nothing, what it should have met on its way."""
    if shared.image_time is None:
        return ran.delays
    half = shared.rtt / 2
    sent = {one.number: shared.image_time * one.offloads for one in ran.log.transmissions}
    return {number: Delay(0.0, sending, sending + half, half) for number, sending in sent.items()}


class _Met(NamedTuple):
    """A transmission by the clock of all: when it came to where it meets others, and left the server; own times."""

    came: float
    left: float
    framework: float
    serving: float


def _stages(logs: Sequence[Log], delays: Sequence[dict[int, Delay]], shared: Shared) -> Stages:
    """Means over the devices, but for what can be told only where nobody else is at the server."""
    each = [stages_of(log, found) for log, found in zip(logs, delays, strict=True)]
    met = [
        _met(log, one, found[one.number], shared)
        for log, found in zip(logs, delays, strict=True)
        for one in log.transmissions
        if not one.lost and one.number in found
    ]
    first_come = shared.service == IN_TURN
    framework, serving = _of_those_alone(met, first_come)
    if first_come and met:  # then each is with the server from when it is free to the answer
        serving = min(framework, float(np.mean([one.serving for one in met])))
    images = [sum(one.offloads for one in log.transmissions if not one.lost) for log in logs]

    def mean(values: list[float], weights: list[int] | None = None) -> float:
        return float(np.average(values, weights=weights if weights and any(weights) else None))

    timing = TimingModel(
        tau_ed=mean([one.timing.tau_ed for one in each]),
        tau_es=mean([one.timing.tau_es for one in each], images),
        tau_tx=mean([one.timing.tau_tx for one in each], images),
        tau_nw=mean([max(0.0, one.timing.tau_nw - one.framework) for one in each], images) + framework,
    )
    own = (mean([getattr(one, name) for one in each]) for name in ("small", "learner"))
    return Stages(timing, mean([one.overhead for one in each]), framework, serving, *own)


def _met(log: Log, one: Transmission, delay: Delay, shared: Shared) -> _Met:
    sent = log.begun + one.sent
    service = shared.service
    # A server that merges waits for more, which is no time of its own.
    waited = service.merge_wait if service.merge is not None and one.offloads < service.merge else 0.0
    framework = one.round_trip - one.computing - delay.there - delay.back - waited
    came = sent if shared.uplink else sent + delay.there
    return _Met(came, sent + one.round_trip - delay.back, framework, one.resident - one.computing - waited)


def _of_those_alone(met: Sequence[_Met], first_come: bool) -> tuple[float, float]:
    """Mean of what the framework, and of it a busy server, take of a transmission that meets no other.

    Who is served first come, first served only meets those that were there before.
    """
    if not met:
        return 0.0, 0.0
    ordered, alone, until = sorted(met), [], -np.inf
    for number, one in enumerate(ordered):
        last = first_come or number + 1 == len(ordered)
        if one.came >= until and (last or ordered[number + 1].came >= one.left):
            alone.append(one)
        until = max(until, one.left)
    if len(alone) < _ENOUGH:
        alone = heapq.nsmallest(max(1, int(_LEAST_SHARE * len(met))), met, key=lambda one: one.framework)
    framework = max(0.0, float(np.mean([one.framework for one in alone])))
    return framework, min(framework, max(0.0, float(np.mean([one.serving for one in alone]))))
