"""The paper's Fig. 4: the best batch size: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import (
    DASHED,
    DECADES,
    SYMBOLS,
    alpha_colours,
    batch_size_axis,
    name_beside,
    plain_ticks,
    shared_legend,
)
from hi_book.figures.values import least, least_bend, most, rise, whole
from hi_lib import checks
from hi_lib.paper import CIFAR10, IMAGENETTE

if TYPE_CHECKING:
    from hi_lib.timing import TimingModel

Panels = Mapping[str, "tuple[TimingModel, float]"]  # data set: its times and ρ
_EVEN, _STEEP = 0.5, 0.9  # weights at which the paper's remarks are answered
_GAIN = "true gain of M* (ms)"
ADDITIVE, FACTOR = "M wrong by ± M†/2", "M wrong by a factor 2"


class Reading(NamedTuple):
    """What the numbers are taken at: weights α in rising order, the largest M, an error, and the M of the gain."""

    alphas: Sequence[float]
    largest_batch: int
    parameter_error: float
    gain_batch: int


def panels(imagenette: float, cifar10: float) -> Panels:
    """The paper's times with these offload ratios, which must be above 0: without offloads there is nothing to show."""
    return {
        "Imagenette": (IMAGENETTE.timing, checks.share("imagenette_offload_ratio", imagenette)),
        "CIFAR-10": (CIFAR10.timing, checks.share("the offload ratio of cifar10_trace", cifar10)),
    }


def objective(panels: Panels, alphas: Sequence[float], largest: float) -> Figure:
    """Fig. 4: the paper's f(M) for each data set (its timing model and ρ), M† and M* marked; dashed: exact."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.6, 4.2), squeeze=False)
    sizes, whole_sizes = np.geomspace(1, largest, 400), np.arange(1, int(largest) + 1)
    for axis, (title, (timing, ratio)) in zip(axes[0], panels.items(), strict=True):
        for alpha, colour in zip(alphas, alpha_colours(alphas), strict=True):
            best = timing.optimal_batch_size(ratio, alpha)
            axis.plot(sizes, timing.objective(sizes, ratio, alpha), color=colour)
            exact = timing.objective(whole_sizes, ratio, alpha, "worst")
            axis.plot(whole_sizes, exact, color=colour, ls=DASHED, lw=1)
            if 1 <= best.relaxed <= largest:
                height = timing.objective(best.relaxed, ratio, alpha)
                axis.plot(best.relaxed, height, "o", ms=8, mfc="none", mec=colour, zorder=4)
            if best.integer <= largest:
                axis.plot(best.integer, best.objective, "o", ms=4, color=colour, zorder=5)
            name_beside(axis, f"α = {alpha:g}", (largest, timing.objective(largest, ratio, alpha)), colour)
        axis.set_title(f"{title}, ρ = {ratio:.3f}")
        axis.set(yscale="log", ylabel="f(M) (ms)")
        batch_size_axis(axis, [2**k for k in range(int(np.log2(largest)) + 1)])
        plain_ticks(axis.yaxis, DECADES)
    marks = {
        "M†, real minimiser": ("o", 8, ""),
        "M*, best integer": ("o", 4, "#333333"),
    }
    keys = axes[0, 0].plot([], [], color="#333333", label="the paper's f")
    keys += axes[0, 0].plot([], [], color="#333333", ls=DASHED, lw=1, label="counted exactly, offloads first")
    for label, (mark, size, fill) in marks.items():
        keys += axes[0, 0].plot([], [], mark, ms=size, mfc=fill or "none", color="#333333", label=label)
    shared_legend(figure, 4, keys)
    return figure


def around_optimum(panels: Panels, alphas: Sequence[float]) -> Figure:
    """f above its least value around M†, Imagenette: against samples too many, on linear axes, and against M / M†."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.0))
    timing, ratio = panels["Imagenette"]
    for alpha, colour in zip(alphas, alpha_colours(alphas), strict=True):
        best = timing.optimal_batch_size(ratio, alpha).relaxed
        least = float(timing.objective(best, ratio, alpha))
        off = np.linspace(-0.75 * best, 0.75 * best, 200)
        left.plot(off, timing.objective(best + off, ratio, alpha) - least, color=colour)
        factors = np.geomspace(0.25, 4, 200)
        extra = timing.objective(factors * best, ratio, alpha) - least
        right.plot(factors, extra, color=colour)
        name_beside(right, f"α = {alpha:g}", (factors[-1], extra[-1]), colour)
    left.set(xlabel="samples too few (−) or too many (+)", ylabel="f above its least value (ms)")
    right.set(xlabel="M / M†", xscale="log")
    plain_ticks(right.xaxis, [0.25, 0.5, 1, 2, 4])
    return figure


def optima(panels: Panels, alphas: Sequence[float]) -> pd.DataFrame:
    """M† and M* for each data set and α, the exact M*, and what the paper's M* really gains over vanilla HI."""
    rows = []
    for name, (timing, ratio) in panels.items():
        for alpha in alphas:
            paper, exact = (timing.optimal_batch_size(ratio, alpha, model) for model in ("paper", "worst"))
            vanilla = float(timing.objective(1, ratio, alpha, "worst"))
            gain = vanilla - float(timing.objective(paper.integer, ratio, alpha, "worst"))
            rows.append((name, alpha, paper.relaxed, paper.integer, exact.integer, vanilla, gain))
    columns = ["data set", "α", "M†", "M*", "M* (exact, worst)", "f of vanilla (ms)", _GAIN]
    return pd.DataFrame(rows, columns=columns)


def sensitivity(timing: TimingModel, ratio: float, alphas: Sequence[float], error: float) -> pd.DataFrame:
    """Cost of too small a batch minus cost of too large a one (ms), a row for each way to be wrong by the same amount.

    `error` is the relative error of a parameter, in (0, 1).
    """
    error = checks.real("parameter_error", error, 0, 1, open_ends="()")

    def extra_cost(share: float, alpha: float) -> float:
        best = timing.optimal_batch_size(ratio, alpha)
        return float(timing.objective(share * best.relaxed, ratio, alpha) - best.objective)

    def gap(parameter: str, alpha: float) -> float:
        low, high = (timing.misestimation_cost(parameter, 1 + sign * error, ratio, alpha) for sign in (-1, 1))
        return low - high if parameter == "tau_nw" else high - low  # the others make M too small when they are too high

    rows = {
        ADDITIVE: [extra_cost(0.5, alpha) - extra_cost(1.5, alpha) for alpha in alphas],
        FACTOR: [extra_cost(0.5, alpha) - extra_cost(2, alpha) for alpha in alphas],
    }
    rows |= {_wrong(name, error): [gap(name, alpha) for alpha in alphas] for name in SYMBOLS}
    return pd.DataFrame(rows, index=[f"α = {alpha:g}" for alpha in alphas]).T


def asked(timing: TimingModel, ratio: float, other: float, alpha: float) -> dict[str, float]:
    """What the page asks its readers: the paper's M* at this and at another offload ratio, and the exact one there."""
    there = checks.share("asked_ratio", other)
    return {
        "asked_ratio": there,
        "asked_alpha": alpha,
        "asked_before": timing.optimal_batch_size(ratio, alpha).integer,
        "asked_after": timing.optimal_batch_size(there, alpha).integer,
        "asked_exact": timing.optimal_batch_size(there, alpha, "worst").integer,
    }


def numbers(panels: Panels, own_ratios: pd.Series, reading: Reading) -> dict[str, Any]:
    """What the claims C8 to C12 and the text rest on; `own_ratios` are those of all CIFAR-10 S-MLs."""
    (timing, ratio), alphas = panels["Imagenette"], reading.alphas
    gaps = sensitivity(timing, ratio, alphas, reading.parameter_error)
    table, sizes = optima(panels, alphas), [1, reading.gain_batch]
    exact = table.groupby("α")["M* (exact, worst)"].agg(list)
    paper, true = (timing.system_time(sizes, ratio, model) for model in ("paper", "exact"))
    return {
        **_shape(panels, alphas, reading.largest_batch),
        "additive_gap_min": gaps.loc[ADDITIVE].min(),
        "factor_gap_max": gaps.loc[FACTOR].abs().max(),
        "tau_nw_gap_min": gaps.loc[_wrong("tau_nw", reading.parameter_error)].min(),
        "other_gap_min": gaps.drop([ADDITIVE, FACTOR, _wrong("tau_nw", reading.parameter_error)]).min(axis=None),
        "integer_gap_min": _integer_gap(timing, ratio, alphas),
        **_growth(panels, alphas),
        **_data_sets(ratio, own_ratios),
        "cifar10_ratio": panels["CIFAR-10"][1],
        "largest_alpha_without_batching": most(alpha for alpha in alphas if set(exact[alpha]) == {1}),
        "worse_than_vanilla": _worse(table),
        "overcharge": (1 - ratio) * timing.tau_nw,
        "paper_vanilla": paper[0],
        "exact_vanilla": true[0],
        "gain_batch": reading.gain_batch,
        "paper_gain": paper[0] - paper[1],
        "exact_gain": true[0] - true[1],
        **_unanswered(panels),
    }


def _unanswered(panels: Panels) -> dict[str, float]:
    """What the paper says in passing: gains of M*, counted exactly (ms), and its M* for the total time of all samples.

    n t_s in place of t_s is another α: α n / (α n + 1 - α).
    """
    found: dict[str, float] = {"even": _EVEN, "steep": _STEEP}
    for name, (timing, ratio) in panels.items():
        key = name.partition("-")[0].lower()
        rows = optima({name: (timing, ratio)}, [_EVEN, _STEEP])
        for alpha, of_vanilla, gain in zip(("even", "steep"), rows["f of vanilla (ms)"], rows[_GAIN], strict=True):
            found |= {f"{key}_{alpha}_vanilla": of_vanilla, f"{key}_{alpha}_gain": gain, f"{key}_{alpha}_loss": -gain}
    timing, ratio = panels["Imagenette"]
    weighed = _EVEN * IMAGENETTE.samples
    total = weighed / (weighed + 1 - _EVEN)
    return found | {"total_alpha": total, "total_size": timing.optimal_batch_size(ratio, total).integer}


def _worse(table: pd.DataFrame) -> str:
    """Where the paper's M* takes more than vanilla HI, counted exactly."""
    worse = table[table[_GAIN] < 0].groupby("data set", sort=False)["α"]
    named = [f"on {name} for α = {', '.join(f'{alpha:g}' for alpha in alphas)}" for name, alphas in worse]
    return " and ".join(named) or "nowhere"


def _wrong(parameter: str, error: float) -> str:
    return f"{SYMBOLS[parameter]} wrong by ± {error:.0%}"


def _shape(panels: Panels, alphas: Sequence[float], largest: float) -> dict[str, float]:
    """Whether f is convex, and its minimum where (9) says."""
    errors, bends = [], []
    for timing, ratio in panels.values():
        for alpha in alphas:
            relaxed = timing.optimal_batch_size(ratio, alpha).relaxed
            errors.append(abs(_numeric_minimiser(timing, ratio, alpha) / relaxed - 1))
            bends.append(least_bend(timing.objective(np.linspace(0.5, largest, 2000), ratio, alpha)))
    return {"minimiser_error_max": max(errors), "second_difference_min": least(bends)}


def _growth(panels: Panels, alphas: Sequence[float]) -> dict[str, float]:
    """By how much M* grows from one α to the next, and from the first to the last, at least."""
    best = [[timing.optimal_batch_size(ratio, alpha).integer for alpha in alphas] for timing, ratio in panels.values()]
    return {
        "integer_step_min": whole(least(np.diff(best).ravel())),
        "integer_growth_min": whole(least(map(rise, best))),
    }


def _numeric_minimiser(timing: TimingModel, ratio: float, alpha: float) -> float:
    """Where the slope of f changes its sign: values of f alone tell a minimum to eight digits only."""
    from scipy.optimize import brentq

    def slope(size: float) -> float:
        """By differences of fourth order."""
        far, near = (timing.objective(size * (1 + step * np.array([-1, 1])), ratio, alpha) for step in (6e-3, 3e-3))
        return float(8 * (near[1] - near[0]) - (far[1] - far[0]))

    best = timing.optimal_batch_size(ratio, alpha).relaxed
    return float(brentq(slope, best / 4, 4 * best, xtol=1e-13))


def _integer_gap(timing: TimingModel, ratio: float, alphas: Sequence[float]) -> float:
    """Least cost of one sample too few minus that of one too many, around M* > 1 (ms); nan where there is none."""
    best = [(alpha, timing.optimal_batch_size(ratio, alpha).integer) for alpha in alphas]
    return least(
        float(timing.objective(size - 1, ratio, alpha) - timing.objective(size + 1, ratio, alpha))
        for alpha, size in best
        if size > 1
    )


def _data_sets(ratio: float, own_ratios: pd.Series) -> dict[str, float]:
    """How much larger CIFAR-10's M† is than Imagenette's, at its ratio; why, and up to which ρ."""
    from scipy.optimize import brentq

    paper, other = IMAGENETTE.timing, CIFAR10.timing
    base = paper.optimal_batch_size(ratio, 0.5).relaxed

    def over(timing: TimingModel, rho: float = ratio) -> float:
        return float(timing.optimal_batch_size(rho, 0.5).relaxed / base)

    both, sending = over(other), over(replace(paper, tau_tx=other.tau_tx))
    return {
        "cifar_over_imagenette": both,
        "cifar_tx_only": sending,
        "cifar_tx_share": float(np.log(sending) / np.log(both)),
        "cifar_ed_only": over(replace(paper, tau_ed=other.tau_ed)),
        "cifar_both": over(replace(paper, tau_tx=other.tau_tx, tau_ed=other.tau_ed)),
        # It falls with ρ.
        "cifar_crossing": brentq(lambda rho: over(other, rho) - 1, 1e-6, 1) if over(other, 1) < 1 else 1.0,
        "cifar_ratio_max": most(own_ratios),
        "cifar_own_min": least(over(other, rho) for rho in own_ratios),
    }
