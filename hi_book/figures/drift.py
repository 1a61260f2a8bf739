"""When the S-ML changes: learners that forget and one that does not; figures and numbers of the page on learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import band, shared_legend, trace_title
from hi_book.figures.values import most, standard_error
from hi_lib import checks
from hi_lib.learners import Run, replay
from hi_lib.regret import best_threshold, fixed_share_bound, lambda_min, tuned_learning_rate
from hi_lib.studies.variants import sliding_window
from hi_lib.traces import Trace
from hi_lib.typing import Floats

CALIBRATED = "fixed θ = 1 − β"
Paths = Mapping[str, Floats]  # learner: regret so far, (shuffles, samples)


@dataclass(frozen=True)
class Setting:
    """β, M, and how to forget: over how many samples, or which share of the weight after each batch."""

    beta: float
    batch_size: int
    window: int
    share: float


def draw(cases: Mapping[str, Mapping[str, Any]], change: int) -> Figure:
    """Accumulated regret over time of several learners, (shuffles, samples) each, around a change; a panel a case."""
    figure, axes = plt.subplots(1, len(cases), figsize=(7.4, 3.0), sharey=True)
    colours = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#333333")
    for axis, (title, paths) in zip(axes, cases.items(), strict=True):
        for (name, path), colour in zip(paths.items(), colours, strict=True):
            some = path[:, 15::16]
            line = {"color": colour, "label": name, "ls": "--" if name == CALIBRATED else "-"}
            band(axis, np.arange(16, path.shape[1] + 1, 16), some.mean(axis=0), standard_error(some), **line)
        axis.axvline(change, color="#555555", lw=0.8, ls="--")
        axis.set(title=title, xlabel="samples")
    # The rule may lose many times as much as any learner: its line leaves the panel.
    learned = (
        path.mean(axis=0).max() for paths in cases.values() for name, path in paths.items() if name != CALIBRATED
    )
    axes[0].set(ylabel="regret so far", ylim=(0, 1.15 * max(learned) or None))
    shared_legend(figure, 4)
    return figure


def changes(first: Trace, second: Trace, power: float) -> dict[str, tuple[Trace, Trace]]:
    """Two changes of the S-ML, by title: to another one, and to itself with every confidence p as p to this power."""
    better = np.sign(second.accuracy - first.accuracy)
    surer = Trace(first.confidence ** checks.nonnegative("overconfidence", power), first.correct)
    return {
        f"the S-ML is replaced by {('one as good', 'a better one', 'a worse one')[int(better)]}": (first, second),
        f"the S-ML grows {'over' if power < 1 else 'under'}confident": (first, surer),
    }


def regret_paths(halves: Sequence[Trace], setting: Setting, shuffles: int) -> dict[str, Floats]:
    """Regret so far against the best threshold of each half, (shuffles, samples), for five learners and the rule.

    They meet the halves, each shuffled, one after the other.
    """
    rates, found = _rates(halves, setting), []
    for seed in range(shuffles):
        parts = [half.shuffled(seed) for half in halves]
        runs, best = _runs(_joined(parts), setting, rates, seed), _least_costs(parts, setting.beta)
        found.append({name: np.cumsum(run.cost - best) for name, run in runs.items()})
    return {name: np.array([paths[name] for paths in found]) for name in found[0]}


def _runs(moving: Trace, setting: Setting, rates: Sequence[float], seed: int) -> dict[str, Run]:
    """Five learners on one trace; those that forget, and one that does not, have the quicker rate."""
    (steady, quick), beta, size = rates, setting.beta, setting.batch_size
    return {
        "HIL-F": replay(moving, beta, size, learning_rate=steady),
        "HIL-F, quick": replay(moving, beta, size, learning_rate=quick),
        "sliding window": sliding_window(moving, beta, size, quick, setting.window),
        "fixed share": replay(moving, beta, size, learning_rate=quick, share=setting.share),
        "naive": replay(moving, beta, size, "naive", steady, seed=seed),
        CALIBRATED: replay(moving, beta, size, learner="fixed", threshold=1 - beta),
    }


def share_bound(halves: Sequence[Trace], setting: Setting) -> float:
    """T25 for the fixed share of `regret_paths`: one change between two batches, if the first half has whole ones."""
    n, (_, quick) = sum(map(len, halves)), _rates(halves, setting)
    return fixed_share_bound(n, setting.batch_size, min(map(lambda_min, halves)), quick, setting.share, switches=1)


def _rates(halves: Sequence[Trace], setting: Setting) -> tuple[float, float]:
    """η for all the samples of a half, and for those of a window."""
    shortest = min(map(lambda_min, halves))
    steady, quick = (tuned_learning_rate(n, setting.batch_size, shortest) for n in (len(halves[0]), setting.window))
    return steady, quick


def _joined(parts: Sequence[Trace]) -> Trace:
    confidence, correct = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("confidence", "correct")
    )
    return Trace(confidence, correct)


def _least_costs(parts: Sequence[Trace], beta: float) -> Floats:
    """Cost of every sample under the best threshold of its part."""
    runs = (replay(part, beta, learner="fixed", threshold=best_threshold(part, beta).threshold) for part in parts)
    return np.concatenate([run.cost for run in runs])


def table(drift: Mapping[str, Paths]) -> pd.DataFrame:
    """Mean regret so far after every 16th sample, a column a learner, the cases one below the other."""
    tables = [
        pd.DataFrame({name: path.mean(axis=0)[15::16] for name, path in paths.items()}).assign(case=title)
        for title, paths in drift.items()
    ]
    return pd.concat(tables)


def numbers(
    cases: Mapping[str, tuple[Trace, Trace]], drift: Mapping[str, Paths], setting: Setting, power: float
) -> dict[str, float | str]:
    """What the text says of two changes, the first from one S-ML to another, the second of the first S-ML itself."""
    (first, second), (_, surer) = cases.values()
    replaced, over = (_mean_growth(paths, len(first)) for paths in drift.values())
    calm = {name: path[:, len(first) - 1].mean() for name, path in list(drift.values())[1].items()}
    before, now, later = (best_threshold(trace, setting.beta).threshold for trace in (first, second, surer))
    return {
        "drift_first": trace_title(str(first.name)),
        "drift_second": trace_title(str(second.name)),
        "drift_window": setting.window,
        "drift_power": power,
        "beta": setting.beta,
        "threshold_before": before,
        "threshold_replaced": now,
        "threshold_overconfident": later,
        "replaced_hil_f": replaced["HIL-F"],
        "replaced_share": replaced["fixed share"],
        "replaced_window": replaced["sliding window"],
        "calm_quick": calm["HIL-F, quick"],
        "over_quick": over["HIL-F, quick"],
        "over_hil_f": over["HIL-F"],
        "over_naive": over["naive"],
        "over_window": over["sliding window"],
        "over_share": over["fixed share"],
        "calm_hil_f": calm["HIL-F"],
        "calm_naive": calm["naive"],
        "calm_window": calm["sliding window"],
        "calm_share": calm["fixed share"],
        "calm_rule": calm[CALIBRATED],
        "over_rule": over[CALIBRATED],
        "share_over_bound": most(
            paths["fixed share"][:, -1].mean() / share_bound(halves, setting)
            for halves, paths in zip(cases.values(), drift.values(), strict=True)
        ),
    }


def _mean_growth(paths: Paths, change: int) -> dict[str, float]:
    """Regret after so many samples, mean over shuffles."""
    mean = {name: path.mean(axis=0) for name, path in paths.items()}
    return {name: path[-1] - path[change - 1] for name, path in mean.items()}
