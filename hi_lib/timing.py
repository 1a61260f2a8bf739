"""The timing model: system time, response time, the objective, and the batch size that minimises it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks, cycles, optima, payload
from hi_lib.optima import DeadlineError, OptimalBatch
from hi_lib.payload import NetworkTime
from hi_lib.typing import Floats
from hi_lib.units import UNITS

if TYPE_CHECKING:
    from hi_lib.response import ModelLaw
    from hi_lib.run_times import Replayed, RunTimes

# "exact" is the old name of "independent".
SYSTEM_MODELS = ("paper", "independent", "exact")
MODEL_NAMES = {
    "paper": "the paper's formulas",
    "worst": "independent, offloads first",
    "average": "independent, offloads anywhere",
}
RESPONSE_MODELS, EXACT_MODELS = tuple(MODEL_NAMES), ("worst", "average")
TAUS = ("tau_ed", "tau_es", "tau_tx", "tau_nw")


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

    The independent models take m ~ Bin(M, ρ) instead, as if each sample were offloaded on its own, so that a batch
    without offloads sends nothing; they are exact for a fixed threshold and samples in random order. (A learner draws
    one θ for a batch: `of_run` is exact for a replayed run.) With v = E[m²]/M = ρ(1 − ρ) + ρ²M,

    * "independent" t_s = τ_ed + ρ(τ_es + τ_tx) + (1 − (1 − ρ)^M) τ_nw / M,
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
    network_time : callable, optional
        Network time of a transmission by its number of images, ms, beside τ_tx for each: what TCP does on a link is
        `hi.tcp`. Then all but the paper's formulas, which know one τ_nw, count with it (`payload`), and `tau_nw` does
        not count.

    Raises
    ------
    ValueError
        A time that is negative or not finite; a formula of the paper where there is a `network_time`.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
    >>> float(timing.system_time(5, offload_ratio=0.421).round(3))
    9.412
    >>> best = timing.optimal_batch_size(offload_ratio=0.421, alpha=0.5)
    >>> round(best.relaxed, 3), best.integer
    (3.052, 3)
    >>> import hi_lib as hi
    >>> cold = hi.tcp(rtt=20, rate=50e6, image_bytes=30_803, idle=2000)
    >>> rare = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0, network_time=cold)
    >>> [one.optimal_batch_size(0.421, alpha=0.9, unit="offloads").integer for one in (timing, rare)]
    [4, 7]
    """

    tau_ed: float
    tau_es: float
    tau_tx: float
    tau_nw: float
    network_time: NetworkTime | None = None

    def __post_init__(self) -> None:
        for name in TAUS:
            object.__setattr__(self, name, checks.nonnegative(name, getattr(self, name)))
        if self.network_time is not None and not callable(self.network_time):
            raise ValueError(f"network_time must be a function of a number of images, got {self.network_time!r}")

    @property
    def taus(self) -> dict[str, float]:
        """The four times by their names, ms."""
        return {name: getattr(self, name) for name in TAUS}

    def with_taus(self, taus: Mapping[str, float]) -> TimingModel:
        """The same with some of the four times, by their names, replaced; errors as for the model itself."""
        tau_ed, tau_es, tau_tx, tau_nw = (self.taus | dict(taus)).values()
        return TimingModel(tau_ed, tau_es, tau_tx, tau_nw, self.network_time)

    def system_time(
        self, batch_size: ArrayLike, offload_ratio: ArrayLike, model: str = "paper", unit: str = "samples"
    ) -> Floats:
        """t_s, ms a sample: (6), or with independent offloads. `batch_size` and `offload_ratio` broadcast.

        `batch_size` is any real > 0 for "paper", an integer >= 1 for "independent"; `offload_ratio` lies in [0, 1].
        With the unit "offloads" it is m, a real >= 1: a transmission is sent when m offloads are pending, offloads are
        independent, and there is no other model (`cycles`).

        Returns
        -------
        float or NDArray
            ms a sample.

        Raises
        ------
        ValueError
            An argument outside its range.

        Examples
        --------
        >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
        >>> float(timing.system_time(3, offload_ratio=0.421, unit="offloads").round(2))
        8.22
        """
        if checks.choice("unit", unit, UNITS) == "offloads":
            size, ratio = self._in_offloads(batch_size, offload_ratio, model)
            return cycles.system_time(self._times_of(size), size, ratio)
        self._check_model(model, SYSTEM_MODELS)
        size, ratio = optima.batch_sizes(batch_size, model), checks.reals("offload_ratio", offload_ratio, 0, 1)
        return self._system_time(size, ratio, model)

    def response_time(
        self, batch_size: ArrayLike, offload_ratio: ArrayLike, model: str = "paper", unit: str = "samples"
    ) -> Floats:
        """t_r, ms, mean over all samples: (7), or the independent "worst" or "average"; arguments as `system_time`.

        Returns
        -------
        float or NDArray
            ms, the mean over all samples.

        Raises
        ------
        ValueError
            An argument outside its range.
        """
        if checks.choice("unit", unit, UNITS) == "offloads":
            size, ratio = self._in_offloads(batch_size, offload_ratio, model)
            return cycles.response_time(self._times_of(size), size, ratio)
        self._check_model(model, RESPONSE_MODELS)
        size, ratio = optima.batch_sizes(batch_size, model), checks.reals("offload_ratio", offload_ratio, 0, 1)
        return self._response_time(size, ratio, model)

    def objective(
        self,
        batch_size: ArrayLike,
        offload_ratio: ArrayLike,
        alpha: ArrayLike,
        model: str = "paper",
        unit: str = "samples",
    ) -> Floats:
        """f = α t_s + (1 − α) t_r, ms (8); "worst" and "average" take the independent t_s. α lies in (0, 1).

        Returns
        -------
        float or NDArray
            ms.

        Raises
        ------
        ValueError
            An argument outside its range.
        """
        if checks.choice("unit", unit, UNITS) == "offloads":
            size, ratio = self._in_offloads(batch_size, offload_ratio, model)
            return cycles.objective(self._times_of(size), size, ratio, optima.alphas(alpha))
        self._check_model(model, RESPONSE_MODELS)
        size, ratio = optima.batch_sizes(batch_size, model), checks.reals("offload_ratio", offload_ratio, 0, 1)
        return self._objective(size, ratio, optima.alphas(alpha), model)

    def of_run(self, run: Replayed, network_times: ArrayLike | None = None) -> RunTimes:
        """Exact times of a replayed run on this device, which waits for the answers of every batch.

        Parameters
        ----------
        run : Run
            What `replay` returned.
        network_times : array-like of shape (k,), optional
            Equally likely network times of a transmission, ms; by default τ_nw always.

        Returns
        -------
        RunTimes
            Exact means, ms, and the distribution of the response time.

        Raises
        ------
        ValueError
            `run` is none, or network times that are none.

        Examples
        --------
        >>> import hi_lib as hi
        >>> run = hi.replay(hi.load_trace("cifar10-resnet8"), beta=0.5, batch_size=8)
        >>> times = hi.CIFAR10.timing.of_run(run)
        >>> times.quantile(0.5) <= times.quantile(0.95)
        True
        """
        from hi_lib.run_times import run_times

        service, network = self.tau_tx + self.tau_es, self._network(network_times)
        return run_times(self.tau_ed, service, network, run, self.network_time)

    def response_law(
        self,
        batch_size: int,
        offload_ratio: float,
        model: str = "average",
        offloaded_only: bool = False,
        network_times: ArrayLike | None = None,
        unit: str = "samples",
    ) -> ModelLaw:
        """Exact law of the response time: cdf, quantiles, mean.

        Parameters
        ----------
        batch_size : int
            M; with the unit "offloads", m.
        offload_ratio : float
            ρ, in [0, 1].
        model : {"average", "worst"}
            Whether the offloads stand anywhere in their batch or first.
        offloaded_only : bool
            Over the offloaded samples only, not over all.
        network_times : array-like of shape (k,), optional
            Equally likely network times of a transmission, ms, e.g. measured ones; by default τ_nw always.
        unit : {"samples", "offloads"}
            What `batch_size` counts.

        Returns
        -------
        ModelLaw
            With `mean`, `cdf` and `quantile`, ms.

        Raises
        ------
        ValueError
            An argument outside its range.

        Examples
        --------
        >>> timing = TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
        >>> law = timing.response_law(2, offload_ratio=0.5, offloaded_only=True)
        >>> [law.quantile(level) for level in (0.25, 0.5, 0.75, 1)]   # one or two computations, one or two offloads
        [30.0, 31.0, 39.0, 40.0]
        """
        from hi_lib import response  # brings scipy.special, which the closed forms do without

        checks.choice("model", model, EXACT_MODELS)
        size, ratio = checks.whole("batch_size", batch_size), checks.real("offload_ratio", offload_ratio, 0, 1)
        if offloaded_only and ratio == 0:
            raise ValueError("offload_ratio must be in (0, 1] for the offloaded samples, got 0: there are none")
        times, network = (self.tau_ed, self.tau_es + self.tau_tx), self._network(network_times)
        by_images = network[:, None]
        if self.network_time is not None:
            by_images = payload.table(self.network_time, size)[None]
            network = by_images[:, -1]
        if checks.choice("unit", unit, UNITS) == "offloads":
            if model != "average":
                raise ValueError(f"model must be left out for the unit offloads, got {checks.shown(model)}")
            likely = ratio or 1.0  # of none it does not matter
            in_offloads = cycles.OffloadLaw(self.tau_ed, 1 - ratio, size, likely, times[1], network)
            return in_offloads.of_offloaded if offloaded_only else in_offloads
        law: ModelLaw = response.response_law(times, size, ratio, by_images, first=model == "worst")
        return law.of_offloaded if offloaded_only else law

    def optimal_batch_size(
        self,
        offload_ratio: ArrayLike,
        alpha: ArrayLike | None = None,
        model: str | None = None,
        *,
        deadline: float | None = None,
        miss_probability: float = 0.05,
        offloaded_only: bool = False,
        network_times: ArrayLike | None = None,
        unit: str = "samples",
    ) -> OptimalBatch:
        """Find M† and M*: least f, or least t_s while late answers stay rare; with the unit "offloads", m† and m*.

        Without a deadline f counts: the closed form (9) for "paper" (the default but with a `network_time`, which it
        does not know; arguments may be arrays), a minimiser for "worst" and "average". With ρ = 0 the paper's f falls
        for ever and M† = inf; exactly, nothing is sent and any M does: M* = 1.

        With a `deadline` (ms) only batch sizes with P(response > deadline) <= `miss_probability` count, by the law that
        `model` ("average" by default, or "worst"), `offloaded_only` and `network_times` name, as for `response_law`.
        Among them the exact t_s is least, or f where `alpha` is given, too.

        Returns
        -------
        OptimalBatch
            Sizes in samples, or in offloads, and what they cost, ms.

        Raises
        ------
        DeadlineError
            A ValueError: no batch size keeps the deadline; its `nearest_deadline` says which one could be kept.
        ValueError
            An argument outside its range, or without use here.

        Examples
        --------
        >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
        >>> timing.optimal_batch_size(0.421, deadline=80, miss_probability=0.05).integer
        8
        >>> timing.optimal_batch_size(0.421, alpha=0.9, unit="offloads").integer
        4
        """
        in_offloads = checks.choice("unit", unit, UNITS) == "offloads"
        if deadline is None:
            if alpha is None:
                raise ValueError("alpha must be given, in (0, 1), or a deadline")
            if network_times is not None or offloaded_only:
                raise ValueError("network_times and offloaded_only must be left out where there is no deadline")
            if in_offloads:
                _, ratio = self._in_offloads(1, offload_ratio, model or "paper")
                return self._optimal_offloads(ratio, optima.alphas(alpha))
            return self._optimal(offload_ratio, alpha, model or ("average" if self.network_time else "paper"))
        model = checks.choice("model", model or "average", EXACT_MODELS)
        ratio = np.asarray(checks.real("offload_ratio", offload_ratio, 0, 1))
        most = self.largest_batch_size(
            float(ratio), deadline, miss_probability, model, offloaded_only, network_times, unit=unit
        )
        weight = None if alpha is None else optima.alphas(alpha)
        mean = replace(self, tau_nw=float(self._network(network_times).mean()))
        return mean._optimal_up_to(most, ratio, weight, model, in_offloads)

    def _optimal_up_to(
        self, most: float, ratio: Floats, alpha: Floats | None, model: str, in_offloads: bool
    ) -> OptimalBatch:
        """The size up to `most` with the least f, or the least t_s where no α is given."""

        def criterion(size: ArrayLike) -> Floats:
            found = np.asarray(size, dtype=float)
            if alpha is None and in_offloads:
                return cycles.system_time(self._times_of(found), found, ratio)
            if alpha is None:
                return self._system_time(found, ratio, "independent")
            if in_offloads:
                return cycles.objective(self._times_of(found), found, ratio, alpha)
            return self._objective(found, ratio, alpha, model)

        if self.network_time is not None and np.isfinite(most):  # f and t_s may fall and rise
            tried = criterion(np.arange(1, most + 1))
            best = tried.size - int(tried[::-1].argmin())
            return optima.optimum(best, best, float(tried[best - 1]))
        relaxed = size = most if ratio * self.tau_nw > 0 or self.network_time else 1  # else t_s does not depend on M
        if alpha is not None:
            free = self._optimal_offloads(ratio, alpha) if in_offloads else self._optimal(ratio, alpha, model)
            relaxed, size = min(free.relaxed, most), min(free.integer, most)
        finite = optima.finite_size(size) if self.network_time is None else min(size, payload.MANY)
        return optima.optimum(relaxed, size, float(criterion(finite)))

    def largest_batch_size(
        self,
        offload_ratio: float,
        deadline: float,
        miss_probability: float = 0.05,
        model: str = "average",
        offloaded_only: bool = False,
        network_times: ArrayLike | None = None,
        start: int = 1,
        unit: str = "samples",
    ) -> float:
        """Largest M with P(response > deadline) <= miss_probability, inf where every M does; all smaller M do as well.

        Arguments and errors as for `optimal_batch_size`; `start` is a guess, which saves time where it is good.

        Returns
        -------
        float
            Samples, or offloads: a whole number, or inf.

        Raises
        ------
        DeadlineError
            None keeps the deadline.
        ValueError
            An argument outside its range.
        """
        from hi_lib.response import largest_batch

        deadline = checks.nonnegative("deadline", deadline)
        miss = checks.real("miss_probability", miss_probability, 0, 1, open_ends=")")

        def law(size: int) -> ModelLaw:
            return self.response_law(size, offload_ratio, model, offloaded_only, network_times, unit)

        guess, growing = checks.whole("start", start), self.network_time is None
        most = largest_batch(law, deadline, miss, guess, growing=growing)
        if most == 0:
            nearest = law(1).quantile(1 - miss)
            raise DeadlineError(
                f"deadline must be at least {nearest:g} ms for a miss_probability of {miss:g}, got {deadline:g}: "
                "even batches of one are later",
                nearest,
            )
        return most

    def crowd_bound(
        self,
        batch_size: ArrayLike,
        offload_ratio: ArrayLike,
        devices: ArrayLike,
        *,
        unit: str = "samples",
        shared_uplink: bool = False,
    ) -> Floats:
        r"""Least t_s, ms a sample, that D equal devices can have which share one server and wait for its answers: T24.

        None is faster than it would be alone, and the server serves one image at a time, ρ for every sample of every
        device; a shared uplink sends one at a time, too:

        .. math:: t_s(D) \ge \max\{t_s(1),\; D ρ τ_{es},\; D ρ τ_{tx} \text{ if the uplink is shared}\}.

        For devices that differ it says Σ ρ_d / t_{s,d} <= 1 / τ_es. These are the asymptotic bounds of closed queueing
        networks (P. Denning, J. Buzen, "The operational analysis of queueing network models", Computing Surveys 1978).
        They hold for every order of service, and whatever a setup takes or saves the server, in the long run: at the
        end of a finite one some devices are alone.

        Parameters
        ----------
        batch_size, offload_ratio : array-like
            M and ρ of each device, as for `system_time` with independent offloads; with the unit "offloads" m.
        devices : array-like
            D >= 1; a real where a line is to be drawn. All three broadcast.
        unit : {"samples", "offloads"}
            What `batch_size` counts.
        shared_uplink : bool
            Whether the devices share the uplink.

        Returns
        -------
        float or NDArray
            ms a sample of one device.

        Raises
        ------
        ValueError
            An argument outside its range.

        Examples
        --------
        >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
        >>> timing.crowd_bound(1, offload_ratio=0.421, devices=[1, 7, 8, 16]).round(2)
        array([13.83, 13.83, 14.85, 29.71])
        """
        number = checks.reals("devices", devices, 1, 2**53)
        alone = self.system_time(batch_size, offload_ratio, "independent", unit)
        return np.maximum(alone, number * self._busy(offload_ratio, shared_uplink))

    def saturation(
        self,
        batch_size: ArrayLike,
        offload_ratio: ArrayLike,
        *,
        unit: str = "samples",
        shared_uplink: bool = False,
    ) -> Floats:
        """D* = t_s / (ρ τ_es): so many devices as would keep the server busy, each as fast as alone; T24's knee.

        From there on more devices only wait for one another, and a batch size gains nothing but what M = 1 lacks to
        `crowd_bound`. Larger batches come there with fewer devices. With a shared uplink what counts is the larger of
        τ_es and τ_tx. Arguments and errors as for `crowd_bound`.

        Returns
        -------
        float or NDArray
            A real number of devices; inf where none keep it busy, since nothing is offloaded or takes time there.

        Examples
        --------
        >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
        >>> timing.saturation([1, 16], offload_ratio=0.421).round(2)
        array([7.45, 3.59])
        """
        alone = self.system_time(batch_size, offload_ratio, "independent", unit)
        busy = np.broadcast_to(self._busy(offload_ratio, shared_uplink), np.shape(alone))
        found = np.divide(alone, busy, out=np.full(np.shape(alone), np.inf), where=busy > 0)
        return found[()]

    def _busy(self, offload_ratio: ArrayLike, shared_uplink: bool) -> Floats:
        """How long each sample of a device takes what devices share, ms."""
        slowest = max(self.tau_es, self.tau_tx) if shared_uplink else self.tau_es
        return checks.reals("offload_ratio", offload_ratio, 0, 1) * slowest

    def misestimation_cost(
        self, parameter: str, factor: float, offload_ratio: float, alpha: float, model: str = "paper"
    ) -> float:
        """f(M̂) − min f, ms, where M̂ is the best M for one parameter taken for `factor` times its true value.

        `parameter` is "offload_ratio", which nobody takes for more than 1, or a time, e.g. "tau_nw"; f is that of
        `model`: over real M for "paper", over integers for the exact models.

        Returns
        -------
        float
            ms.

        Raises
        ------
        ValueError
            An argument outside its range.
        """
        checks.choice("parameter", parameter, ("offload_ratio", *TAUS))
        factor = checks.positive("factor", factor)
        offload_ratio = checks.share("offload_ratio", offload_ratio)
        if parameter == "offload_ratio":
            chosen = self._optimal(min(factor * offload_ratio, 1.0), alpha, model)
        else:
            wrong = replace(self, **{parameter: factor * getattr(self, parameter)})
            chosen = wrong._optimal(offload_ratio, alpha, model)
        best = self._optimal(offload_ratio, alpha, model)
        sizes = [chosen.relaxed, best.relaxed] if model == "paper" else [chosen.integer, best.integer]
        return float(np.subtract(*self.objective(sizes, offload_ratio, alpha, model)))

    def _times_of(self, offloads: Floats) -> cycles.Times:
        """τ_ed, s, and the network time of transmissions of so many offloads."""
        network: Floats | float = self.tau_nw
        if self.network_time is not None:
            if (offloads != np.floor(offloads)).any():
                raise ValueError("batch_size must be whole where the network time depends on what is sent")
            network = payload.table(self.network_time, int(offloads.max(initial=0)))[offloads.astype(int)]
        return self.tau_ed, self.tau_es + self.tau_tx, network

    def _check_model(self, model: str, allowed: tuple[str, ...]) -> None:
        checks.choice("model", model, allowed)
        if model == "paper" and self.network_time is not None:
            rest = ", ".join(name for name in allowed if name not in ("paper", "exact"))
            raise ValueError(f"model must be one of {rest} with a network_time: the paper's formulas know one τ_nw")

    def _in_offloads(self, batch_size: ArrayLike, offload_ratio: ArrayLike, model: str) -> tuple[Floats, Floats]:
        """m >= 1 and ρ, where m offloads are sent together; there is one model of that."""
        if model not in ("paper", "independent", "average"):  # the default, or what this model is
            raise ValueError(f"model must be left out for the unit offloads, got {checks.shown(model)}")
        size = checks.reals("batch_size", batch_size, 0, np.inf)
        if (size < 1).any():
            raise ValueError(f"batch_size must be >= 1 for the unit offloads, got {size[size < 1].flat[0]:g}")
        return size, checks.reals("offload_ratio", offload_ratio, 0, 1)

    def _network(self, network_times: ArrayLike | None) -> Floats:
        if network_times is None:
            return np.array([self.tau_nw])
        if self.network_time is not None:
            raise ValueError("network_times must be left out where there is a network_time")
        times = checks.reals("network_times", network_times, 0, np.finfo(float).max)
        if times.ndim != 1 or times.size == 0:
            raise ValueError(f"network_times must be one-dimensional and not empty, got shape {times.shape}")
        return times

    def _system_time(self, size: Floats, ratio: Floats, model: str) -> Floats:
        if self.network_time is None:
            network = (1.0 if model == "paper" else _sent(size, ratio)) * self.tau_nw / size
        else:
            network, _ = payload.expected(self.network_time, size, ratio)
        return self.tau_ed + ratio * (self.tau_es + self.tau_tx) + network

    def _response_time(self, size: Floats, ratio: Floats, model: str) -> Floats:
        if model == "paper":
            waiting = (1 - ratio / 2) * self.tau_ed
            return self._response_slope(ratio, model) * size + ratio * self.tau_nw + waiting
        second_moment = ratio * (1 - ratio) + ratio**2 * size
        position = ratio * (size + 1)
        position = position - (second_moment + ratio) / 2 if model == "worst" else position / 2
        served, network = second_moment * (self.tau_es + self.tau_tx), ratio * self.tau_nw
        if self.network_time is not None:
            _, network = payload.expected(self.network_time, size, ratio)
        return self.tau_ed * (position + 1 - ratio) + network + served

    def _response_slope(self, ratio: Floats, model: str) -> Floats:
        """dt_r/dM, the same in the paper's and the exact worst case."""
        clustered = 1 / 2 if model == "average" else 1 - ratio / 2
        return ratio * clustered * self.tau_ed + ratio**2 * (self.tau_es + self.tau_tx)

    def _objective(self, size: Floats, ratio: Floats, alpha: Floats, model: str) -> Floats:
        system = self._system_time(size, ratio, "paper" if model == "paper" else "independent")
        return alpha * system + (1 - alpha) * self._response_time(size, ratio, model)

    def _stationary(self, ratio: Floats, alpha: Floats, model: str) -> Floats:
        """√(α τ_nw / ((1 − α) dt_r/dM)), inf where responses do not get later."""
        gain, price = np.broadcast_arrays(alpha * self.tau_nw, (1 - alpha) * self._response_slope(ratio, model))
        never_worse = np.where(gain > 0, np.inf, 0.0)
        return np.sqrt(np.divide(gain, price, out=never_worse, where=price > 0))

    def _optimal(self, offload_ratio: ArrayLike, alpha: ArrayLike, model: str) -> OptimalBatch:
        self._check_model(model, RESPONSE_MODELS)
        ratio, weight = checks.reals("offload_ratio", offload_ratio, 0, 1), optima.alphas(alpha)
        if model == "paper":
            return self._optimal_on_paper(ratio, weight)
        if ratio.ndim or weight.ndim:
            raise ValueError(f"offload_ratio and alpha must be single numbers for model {model!r}")
        return self._optimal_exactly(ratio, weight, model)

    def _optimal_on_paper(self, ratio: Floats, alpha: Floats) -> OptimalBatch:
        relaxed = self._stationary(ratio, alpha, "paper")
        integer = optima.closest_integer(relaxed)
        objective = self._objective(optima.finite_size(integer), ratio, alpha, "paper")
        if relaxed.ndim:
            return OptimalBatch(relaxed, integer, objective)
        return optima.optimum(float(relaxed), float(integer), float(objective))

    def _optimal_offloads(self, ratio: Floats, alpha: Floats) -> OptimalBatch:
        if self.network_time is None:
            return cycles.optimal(self._times_of(np.array(1.0)), ratio, alpha)
        if ratio.ndim or alpha.ndim:
            raise ValueError("offload_ratio and alpha must be single numbers with a network_time")
        if ratio == 0:
            return optima.optimum(1, 1, self.tau_ed)
        still = self.tau_ed, self.tau_es + self.tau_tx, 0.0
        return payload.optimal(
            lambda size: cycles.objective(self._times_of(size), size, ratio, alpha),
            lambda size: cycles.objective(still, size, ratio, alpha),
        )

    def _optimal_exactly(self, ratio: Floats, alpha: Floats, model: str) -> OptimalBatch:
        if self.network_time is not None and ratio > 0:
            still = replace(self, tau_nw=0.0, network_time=None)
            return payload.optimal(
                lambda size: self._objective(size, ratio, alpha, model),
                lambda size: still._objective(size, ratio, alpha, model),
            )
        price = (1 - alpha) * self._response_slope(ratio, model)

        def varying(size: float) -> float:
            """f without its constant part, which would swallow the digits of the rest when ρ is tiny."""
            return float(alpha * self.tau_nw * _sent(np.asarray(size), ratio) / size + price * size)

        # Sending only when there is something to send makes batching gain less than on paper: M† is an upper end.
        upper = 0.0 if ratio == 0 else float(self._stationary(ratio, alpha, model))
        relaxed, integer = optima.minimiser(varying, upper)
        return optima.optimum(
            relaxed, integer, float(self._objective(optima.finite_size(integer), ratio, alpha, model))
        )


def _sent(size: Floats, ratio: Floats) -> Floats:
    """Probability that a batch sends anything, 1 − (1 − ρ)^M, without cancellation for small ρ."""
    with np.errstate(divide="ignore"):  # log(1 − ρ) is −inf at ρ = 1: such a batch sends for certain
        return -np.expm1(size * np.log1p(-ratio))
