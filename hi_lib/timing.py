"""The timing model: system time, response time, the objective, and the batch size that minimises it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks

Floats = NDArray[np.floating[Any]]
SYSTEM_MODELS = ("paper", "exact")
RESPONSE_MODELS = ("paper", "worst", "average")
_NEGLIGIBLE = 1e-3  # batch sizes below it are not told from zero


class OptimalBatch(NamedTuple):
    """The batch size that minimises f; arrays where the inputs were arrays."""

    relaxed: Any
    """M†, over real M > 0, not clipped; inf where f falls for ever."""
    integer: Any
    """M*, over M = 1, 2, …; ties go up; inf with M†."""
    objective: Any
    """f(M*), ms."""


class Interval(NamedTuple):
    """One stretch of work on the time line of a batch; times in ms, `sample` is None for work on a whole batch."""

    lane: str
    start: float
    end: float
    sample: int | None = None


@dataclass(frozen=True)
class TimingModel:
    r"""One batch of M samples: compute all, send the offloaded ones together, wait for the answers.

    The device computes the M samples one after another (τ_ed each). The m of them that fall below θ are sent in one
    transmission (τ_tx each, and τ_nw once), computed one after another by the server (τ_es each), and their answers
    return together. With offload ratio ρ the paper's model, m = ρM, gives the times per sample

    .. math::
        t_s(M) &= τ_{ed} + ρ(τ_{es} + τ_{tx}) + τ_{nw}/M                                        \quad (6) \\
        t_r(M) &= (ρ(1-ρ/2)τ_{ed} + ρ^2(τ_{es} + τ_{tx}))M + ρτ_{nw} + (1-ρ/2)τ_{ed}            \quad (7) \\
        f(M)   &= α\,t_s(M) + (1-α)\,t_r(M)                                                     \quad (8) \\
        M^†    &= \sqrt{ατ_{nw} / ((1-α)(ρ(1-ρ/2)τ_{ed} + ρ^2(τ_{es} + τ_{tx})))}               \quad (9)

    The exact models take m ~ Bin(M, ρ) instead, so that a batch without offloads sends nothing; there, with
    v = E[m²]/M = ρ(1 − ρ) + ρ²M,

    * "exact" t_s = τ_ed + ρ(τ_es + τ_tx) + (1 − (1 − ρ)^M) τ_nw / M,
    * "worst" t_r = τ_ed(ρ(M + 1) − (v + ρ)/2 + 1 − ρ) + ρτ_nw + v(τ_es + τ_tx): the offloads come first in the batch,
    * "average" t_r = τ_ed(ρ(M + 1)/2 + 1 − ρ) + ρτ_nw + v(τ_es + τ_tx): the offloads come anywhere.

    Parameters
    ----------
    tau_ed, tau_es : float
        S-ML time a sample on the device, L-ML time a sample on the server, ms.
    tau_tx : float
        Transmission time a sample, image size / rate, ms.
    tau_nw : float
        Network time a transmission, ms.

    Raises
    ------
    ValueError
        A time that is negative or not finite.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
    >>> float(timing.system_time(5, offload_ratio=0.421).round(3))
    9.412
    >>> best = timing.optimal_batch_size(offload_ratio=0.421, alpha=0.5)
    >>> round(best.relaxed, 3), best.integer
    (3.052, 3)
    """

    tau_ed: float
    tau_es: float
    tau_tx: float
    tau_nw: float

    def __post_init__(self) -> None:
        for parameter in fields(self):
            value = checks.nonnegative(parameter.name, getattr(self, parameter.name))
            object.__setattr__(self, parameter.name, value)

    def system_time(self, batch_size: ArrayLike, offload_ratio: ArrayLike, model: str = "paper") -> Floats:
        """t_s, ms a sample: (6), or its exact form. `batch_size` and `offload_ratio` broadcast.

        `batch_size` is any real > 0 for "paper", an integer >= 1 for "exact"; `offload_ratio` lies in [0, 1].
        """
        checks.choice("model", model, SYSTEM_MODELS)
        size, ratio = _batch_size(batch_size, model), checks.reals("offload_ratio", offload_ratio, 0, 1)
        return self._system_time(size, ratio, model)

    def response_time(self, batch_size: ArrayLike, offload_ratio: ArrayLike, model: str = "paper") -> Floats:
        """t_r, ms, mean over all samples: (7), or the exact "worst" or "average" form; arguments as `system_time`."""
        checks.choice("model", model, RESPONSE_MODELS)
        size, ratio = _batch_size(batch_size, model), checks.reals("offload_ratio", offload_ratio, 0, 1)
        return self._response_time(size, ratio, model)

    def objective(
        self, batch_size: ArrayLike, offload_ratio: ArrayLike, alpha: ArrayLike, model: str = "paper"
    ) -> Floats:
        """f = α t_s + (1 − α) t_r, ms (8); "worst" and "average" take the exact t_s with that t_r. α lies in (0, 1)."""
        checks.choice("model", model, RESPONSE_MODELS)
        size, ratio = _batch_size(batch_size, model), checks.reals("offload_ratio", offload_ratio, 0, 1)
        return self._objective(size, ratio, _alpha(alpha), model)

    def optimal_batch_size(self, offload_ratio: ArrayLike, alpha: ArrayLike, model: str = "paper") -> OptimalBatch:
        """M† and M*: the closed form (9) for "paper" (arguments may be arrays), a minimiser for the exact models.

        With ρ = 0 the paper's f falls for ever and M† = inf; exactly, nothing is sent and any M does: M* = 1.
        """
        checks.choice("model", model, RESPONSE_MODELS)
        ratio, weight = checks.reals("offload_ratio", offload_ratio, 0, 1), _alpha(alpha)
        if model == "paper":
            return self._optimal_on_paper(ratio, weight)
        if ratio.ndim or weight.ndim:
            raise ValueError(f"offload_ratio and alpha must be single numbers for model {model!r}")
        return self._optimal_exactly(ratio, weight, model)

    def misestimation_cost(self, parameter: str, factor: float, offload_ratio: float, alpha: float) -> float:
        """f(M̂) − f(M†), ms, where M̂ follows from (9) with one parameter taken for `factor` times its true value.

        `parameter` is "offload_ratio" or a time, e.g. "tau_nw"; f is the paper's (8), over real M.
        """
        names = ("offload_ratio", *(parameter.name for parameter in fields(self)))
        checks.choice("parameter", parameter, names)
        factor = checks.positive("factor", factor)
        offload_ratio = checks.share("offload_ratio", offload_ratio)
        if parameter == "offload_ratio":
            chosen = self.optimal_batch_size(factor * offload_ratio, alpha)
        else:
            wrong = replace(self, **{parameter: factor * getattr(self, parameter)})
            chosen = wrong.optimal_batch_size(offload_ratio, alpha)
        best = self.optimal_batch_size(offload_ratio, alpha)
        return float(np.subtract(*self.objective([chosen.relaxed, best.relaxed], offload_ratio, alpha)))

    def timeline(self, offloaded: ArrayLike, batch_size: int) -> list[Interval]:
        """What happens when, for samples whose offloading is given: the plain cycle that (6) and (7) average over.

        Parameters
        ----------
        offloaded : array-like of bool, shape (n,)
        batch_size : int
            M; 1 draws vanilla HI. A batch without offloads sends nothing.

        Returns
        -------
        list of Interval
            Lanes "device", "uplink", "network" (half of τ_nw on the way there, half on the way back) and "server".

        Examples
        --------
        >>> timing = TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
        >>> for interval in timing.timeline([1, 0], batch_size=2):
        ...     print(interval.lane, interval.start, interval.end)
        device 0.0 1.0
        device 1.0 2.0
        uplink 2.0 7.0
        network 7.0 17.0
        server 17.0 21.0
        network 21.0 31.0
        """
        flags = checks.flags("offloaded", offloaded)
        size = checks.whole("batch_size", batch_size)
        intervals: list[Interval] = []
        now = 0.0

        def spend(lane: str, duration: float, sample: int | None = None) -> None:
            nonlocal now
            intervals.append(Interval(lane, now, now + duration, sample))
            now += duration

        for batch in np.split(np.arange(flags.size), range(size, flags.size, size)):
            sent = batch[flags[batch]].tolist()
            for sample in batch.tolist():
                spend("device", self.tau_ed, sample)
            for sample in sent:
                spend("uplink", self.tau_tx, sample)
            if sent:
                spend("network", self.tau_nw / 2)
                for sample in sent:
                    spend("server", self.tau_es, sample)
                spend("network", self.tau_nw / 2)
        return intervals

    def _system_time(self, size: Floats, ratio: Floats, model: str) -> Floats:
        sent = 1.0 if model == "paper" else _sent(size, ratio)
        return self.tau_ed + ratio * (self.tau_es + self.tau_tx) + sent * self.tau_nw / size

    def _response_time(self, size: Floats, ratio: Floats, model: str) -> Floats:
        if model == "paper":
            waiting = (1 - ratio / 2) * self.tau_ed
            return self._response_slope(ratio, model) * size + ratio * self.tau_nw + waiting
        second_moment = ratio * (1 - ratio) + ratio**2 * size
        position = ratio * (size + 1)
        position = position - (second_moment + ratio) / 2 if model == "worst" else position / 2
        served = second_moment * (self.tau_es + self.tau_tx)
        return self.tau_ed * (position + 1 - ratio) + ratio * self.tau_nw + served

    def _response_slope(self, ratio: Floats, model: str) -> Floats:
        """dt_r/dM, the same in the paper's and the exact worst case."""
        clustered = 1 / 2 if model == "average" else 1 - ratio / 2
        return ratio * clustered * self.tau_ed + ratio**2 * (self.tau_es + self.tau_tx)

    def _objective(self, size: Floats, ratio: Floats, alpha: Floats, model: str) -> Floats:
        system = self._system_time(size, ratio, "paper" if model == "paper" else "exact")
        return alpha * system + (1 - alpha) * self._response_time(size, ratio, model)

    def _stationary(self, ratio: Floats, alpha: Floats, model: str) -> Floats:
        """√(α τ_nw / ((1 − α) dt_r/dM)), inf where responses do not get later."""
        gain, price = np.broadcast_arrays(alpha * self.tau_nw, (1 - alpha) * self._response_slope(ratio, model))
        never_worse = np.where(gain > 0, np.inf, 0.0)
        return np.sqrt(np.divide(gain, price, out=never_worse, where=price > 0))

    def _optimal_on_paper(self, ratio: Floats, alpha: Floats) -> OptimalBatch:
        relaxed = self._stationary(ratio, alpha, "paper")
        integer = np.maximum(1, np.floor((1 + np.sqrt(1 + 4 * relaxed**2)) / 2))
        # The largest double stands in for inf: f has a limit there, since its slope is zero.
        objective = self._objective(np.minimum(integer, np.finfo(float).max), ratio, alpha, "paper")
        if relaxed.ndim:
            return OptimalBatch(relaxed, integer, objective)
        return _optimum(float(relaxed), float(integer), float(objective))

    def _optimal_exactly(self, ratio: Floats, alpha: Floats, model: str) -> OptimalBatch:
        from scipy.optimize import minimize_scalar

        price = (1 - alpha) * self._response_slope(ratio, model)

        def varying(size: float) -> float:
            """f without its constant part, which would swallow the digits of the rest when ρ is tiny."""
            return float(alpha * self.tau_nw * _sent(np.asarray(size), ratio) / size + price * size)

        # Sending only when there is something to send makes batching gain less than on paper: M† is an upper end.
        upper = 0.0 if ratio == 0 else float(self._stationary(ratio, alpha, model))
        relaxed = upper
        if _NEGLIGIBLE < upper < np.inf:
            ends = np.log([_NEGLIGIBLE, upper])
            found = minimize_scalar(lambda u: varying(np.exp(u)), bounds=ends, options={"xatol": 1e-9})
            relaxed = float(np.exp(found.x))
        if relaxed < 2 * _NEGLIGIBLE:
            relaxed = 0.0  # f only rises
        low, high = max(1, np.floor(relaxed)), max(1, np.ceil(relaxed))
        integer = high if high == low or varying(high) <= varying(low) else low
        at = np.minimum(integer, np.finfo(float).max)
        return _optimum(relaxed, integer, float(self._objective(at, ratio, alpha, model)))


def _sent(size: Floats, ratio: Floats) -> Floats:
    """Probability that a batch sends anything, 1 − (1 − ρ)^M, without cancellation for small ρ."""
    with np.errstate(divide="ignore"):  # log(1 − ρ) is −inf at ρ = 1: such a batch sends for certain
        return -np.expm1(size * np.log1p(-ratio))


def _optimum(relaxed: float, integer: float, objective: float) -> OptimalBatch:
    return OptimalBatch(relaxed, int(integer) if np.isfinite(integer) else integer, objective)


def _batch_size(values: ArrayLike, model: str) -> Floats:
    size = checks.reals("batch_size", values, 0, np.inf)
    allowed = size > 0 if model == "paper" else (size >= 1) & (size == np.floor(size))
    if not allowed.all():
        rule = "a real > 0" if model == "paper" else "an integer >= 1"
        raise ValueError(f"batch_size must be {rule} for model {model!r}, got {size[~allowed].flat[0]:g}")
    return size


def _alpha(values: ArrayLike) -> Floats:
    alpha = checks.reals("alpha", values, 0, 1)
    if ((alpha == 0) | (alpha == 1)).any():
        raise ValueError("alpha must be in (0, 1): at either end one of the two times does not count at all")
    return alpha


@dataclass(frozen=True)
class Setting:
    """One evaluation setting of the paper: its constants, and where each comes from.

    `rate` is in bit/s, `image_bytes` in bytes, `timing` in ms; `offload_ratio` is the paper's ρ at `beta` (None where
    the paper gives none) and `offload_ratios` holds all that it gives, by β.
    """

    name: str
    timing: TimingModel
    beta: float
    offload_ratio: float | None
    samples: int
    image_bytes: float
    rate: float
    offload_ratios: dict[float, float] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def transmission_time(self) -> float:
        """Time to send one image, 8 · image_bytes / rate, ms; the paper prints it rounded, as `timing.tau_tx`."""
        return 8 * self.image_bytes / self.rate * 1000


_SOURCES = {
    "tau_ed": "Section IV: AlexNet on a Jetson at 15 W, measured by the paper's reference [10]",
    "tau_tx": "Section IV: image size over uplink rate, rounded",
    "tau_nw": "Section IV: round-trip time of 172-byte packets, the paper's reference [16]",
    "beta": "Section IV: default of the simulations",
    "samples": "Section IV: number of samples",
    "image_bytes": "Section IV: average image size; its tau_tx needs 1 KB = 1024 bytes",
    "rate": "Section IV: uplink data rate",
}

IMAGENETTE = Setting(
    name="Imagenette",
    timing=TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0),
    beta=0.7,
    offload_ratio=0.421,
    samples=3925,
    image_bytes=30.08 * 1024,
    rate=50e6,
    offload_ratios={0.3: 0.794, 0.5: 0.671, 0.7: 0.421},
    sources=_SOURCES
    | {
        "tau_es": "Section IV: ConvNeXt on an A100, measured by the paper's reference [10]",
        "offload_ratio": "Section IV: from vanilla HI at the same beta",
    },
)

CIFAR10 = Setting(
    name="CIFAR-10",
    timing=TimingModel(tau_ed=0.39, tau_es=4.29, tau_tx=0.49, tau_nw=20.0),
    beta=0.5,
    offload_ratio=None,
    samples=10000,
    image_bytes=3 * 1024,
    rate=50e6,
    sources=_SOURCES
    | {
        "tau_es": "Section IV: ViT-H/14 on an A100, measured by the paper's reference [10]",
        "offload_ratio": "not stated by the paper",
    },
)
