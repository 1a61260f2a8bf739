"""Batch HI over a real wire: figures of what `make bench-live` measured, and the numbers its claims rest on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_book.figures.style import STAGE_COLOURS, batch_size_axis, plain_ticks, shared_legend, trace_title
from hi_book.figures.style import table as table_of
from hi_book.figures.values import listed, most, ordered
from hi_lib import checks
from hi_lib.timing import TimingModel
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

WAITS, ADAPTIVE = "waits", "adaptive"
TIMES = {"system_time": "system time $t_s$ (ms)", "response_time": "response time $t_r$ (ms)"}
CLAIMED = (20.0, 0.05)  # network time (ms) and share by which it is clear, where a claim says what a window beats
LEVELS = ("p50", "p90", "p95", "p99")
# Where the time of a waiting device goes, from the bottom of a bar to its top.
PARTS = {
    "S-ML": STAGE_COLOURS["device"],
    "learner": "#CC79A7",
    "device, other": "#A6DCC9",
    "uplink": STAGE_COLOURS["uplink"],
    "network": STAGE_COLOURS["network"],
    "L-ML": STAGE_COLOURS["server"],
    "framework": "#D55E00",
}


def read(path: str) -> pd.DataFrame:
    """The runs of data/benchmarks/live, each named by how the device works."""
    runs = pd.read_csv(path, dtype={"batch_size": str, "window": str, "offloads": "Int64"})
    ways = zip(runs["batch_size"], runs["offloads"], runs["window"], strict=True)
    return runs.assign(how=[_how(*way) for way in ways])


def _how(size: str, offloads: int, window: str) -> str:
    if pd.notna(offloads):
        return f"m = {offloads}"
    if size == ADAPTIVE:
        return ADAPTIVE
    return f"M = {size}" if window == WAITS else f"W = {'∞' if window == 'inf' else window}"


def emulated(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of replayed traces."""
    return runs[runs["sml"].isna()]


def real(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of real models."""
    return runs[runs["sml"].notna()]


def nearest_network(runs: pd.DataFrame, wanted: float) -> float:
    """The network time (ms) of the emulated runs that is nearest to this one."""
    wanted = checks.nonnegative("network_time", wanted)
    return float(min(emulated(runs)["network_time"].unique(), key=lambda time: abs(time - wanted)))


def waiting(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of a device that waits, with batches of one size, as `M` in numbers."""
    found = runs[(runs["window"] == WAITS) & runs["batch_size"].notna() & (runs["batch_size"] != ADAPTIVE)]
    return found.assign(M=found["batch_size"].astype(int))


def draw_times(runs: pd.DataFrame) -> Figure:
    """Both times against M, a row each, a column a data set: dots measured, lines predicted, a colour a network."""
    table = waiting(emulated(runs))
    titles = list(dict.fromkeys(table["trace"]))
    figure, axes = plt.subplots(2, len(titles), figsize=(7.6, 5.4), sharex=True, squeeze=False)
    networks = sorted(table["network_time"].unique())
    colours = {time: mpl.colormaps["viridis"](0.9 * k / max(len(networks) - 1, 1)) for k, time in enumerate(networks)}
    for row, (time, label) in enumerate(TIMES.items()):
        for axis, trace in zip(axes[row], titles, strict=True):
            for network, found in table[table["trace"] == trace].groupby("network_time"):
                axis.plot(found["M"], found[f"predicted_{time}"], color=colours[network], lw=1.2)
                axis.plot(found["M"], found[f"measured_{time}"], "o", ms=4, color=colours[network])
            axis.set_yscale("log")
            plain_ticks(axis.yaxis, [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if _inside(axis, tick)])
            batch_size_axis(axis, sorted(set(table["M"])), label=row == 1)
        axes[row, 0].set_ylabel(label)
    for axis, trace in zip(axes[0], titles, strict=True):
        axis.set_title(trace_title(trace))
    shown = [Line2D([], [], color=colours[time], label=f"network {time:g} ms") for time in networks]
    marks = [Line2D([], [], color="#333333", label="predicted"), Line2D([], [], color="#333333", marker="o", ls="")]
    marks[1].set_label("measured")
    shared_legend(figure, 6, [*shown, *marks])
    return figure


def _inside(axis: Axes, tick: float) -> bool:
    low, high = axis.get_ylim()
    return low <= tick <= high


def parts(runs: pd.DataFrame) -> pd.DataFrame:
    """Where the time a sample goes where the device waits, ms: a column for each of PARTS, a row a run."""
    stages = runs.filter(like="stages_").rename(columns=lambda name: name.removeprefix("stages_"))
    sent, offloaded = runs["measured_transmissions"] / runs["samples"], runs["measured_offload_ratio"]
    found = {
        "S-ML": stages["small"],
        "learner": stages["learner"],
        "device, other": stages["tau_ed"] - stages["small"] - stages["learner"] + stages["overhead"] * sent,
        "uplink": stages["tau_tx"] * offloaded,
        "network": (stages["tau_nw"] - stages["framework"]) * sent,
        "L-ML": stages["tau_es"] * offloaded,
        "framework": stages["framework"] * sent,
    }
    return pd.DataFrame({name: found[name] for name in PARTS})


def draw_parts(runs: pd.DataFrame, network_time: float) -> Figure:
    """A stacked bar for each M, a panel a data set; the dot is the system time that was measured."""
    table = waiting(emulated(runs))
    table = table[table["network_time"] == network_time]
    titles = list(dict.fromkeys(table["trace"]))
    figure, axes = plt.subplots(1, len(titles), figsize=(7.6, 3.4), squeeze=False)
    for axis, trace in zip(axes[0], titles, strict=True):
        rows = table[table["trace"] == trace]
        places, bottom = np.arange(len(rows)), np.zeros(len(rows))
        for name, heights in parts(rows).items():
            axis.bar(places, heights, 0.75, bottom=bottom, color=PARTS[str(name)], label=str(name))
            bottom += heights.to_numpy()
        axis.plot(places, rows["measured_system_time"], "o", ms=4, color="black", label="measured $t_s$")
        axis.set_xticks(places, rows["batch_size"])
        axis.set(title=trace_title(trace), xlabel="batch size M")
        axis.grid(visible=False, axis="x")
    axes[0, 0].set_ylabel("ms a sample")
    shared_legend(figure, 4)
    return figure


def quantile_ratio(runs: pd.DataFrame, level: str) -> pd.Series:
    """A quantile of the response of offloaded samples, measured over predicted."""
    return runs[f"measured_{level}_offloaded"] / runs[f"predicted_{level}_offloaded"]


def residual_table(runs: pd.DataFrame) -> Styler:
    """How far the measured system time is from the predicted one: a row for each way to run, a column a network."""
    table = emulated(runs)
    table = table.assign(data=[trace_title(name).split(",")[0] for name in table["trace"]])
    wide = table.pivot(index="how", columns=["data", "network_time"], values="residual").loc[
        list(dict.fromkeys(table["how"]))
    ]
    wide.columns = pd.MultiIndex.from_tuples([(data, f"{time:g} ms") for data, time in wide.columns])
    return table_of("real-wire-residuals", wide.rename_axis(None)).format("{:+.1%}")


def offloads_table(runs: pd.DataFrame, network_time: float) -> Styler:
    """Batches and offloads beside each other, a device that waits: both times, measured, predicted, and expected."""
    rows = emulated(runs)
    rows = rows[(rows["network_time"] == network_time) & (rows["window"] == WAITS) & (rows["how"] != ADAPTIVE)]
    shown = pd.DataFrame(
        {"data": [trace_title(name).split(",")[0] for name in rows["trace"]], "sent": rows["how"].to_numpy()}
    )
    for time, head in (("system_time", "t_s (ms)"), ("response_time", "t_r (ms)")):
        for kind in ("measured", "predicted", "expected"):
            shown[f"{head}, {kind}"] = rows[f"{kind}_{time}"].to_numpy()
    shown["offload ratio"] = rows["measured_offload_ratio"].to_numpy()
    caption = f"A network of {network_time:g} ms; expected: before anything is drawn"
    found = table_of("real-wire-offloads", shown).hide(axis="index").format("{:.2f}", subset=shown.columns[2:])
    return found.set_caption(caption)


def real_table(runs: pd.DataFrame) -> Styler:
    """What real models measured."""
    rows = real(runs)
    shown = pd.DataFrame(
        {
            "S-ML": [trace_title(name) for name in rows["sml"]],
            "device": rows["how"].to_numpy(),
            "t_s (ms)": rows["measured_system_time"].to_numpy(),
            "predicted": rows["predicted_system_time"].to_numpy(),
            "t_r (ms)": rows["measured_response_time"].to_numpy(),
            "S-ML (ms)": rows["stages_small"].to_numpy(),
            "L-ML (ms)": rows["stages_tau_es"].to_numpy(),
            "cost": rows["measured_cost"].to_numpy(),
            "accuracy": rows["measured_accuracy"].to_numpy(),
        }
    )
    formats = dict.fromkeys(shown.columns[2:7], "{:.1f}") | {"cost": "{:.3f}", "accuracy": "{:.1%}"}
    return table_of("real-wire-models", shown).hide(axis="index").format(formats)


def formula_errors(runs: pd.DataFrame, model: str) -> Floats:
    """Relative error of a formula's t_s with the measured stages and offload ratio, a waiting device's runs."""
    rows = waiting(runs)
    found = []
    for row in rows.to_dict("records"):
        times = TimingModel(*(row[f"stages_{name}"] for name in ("tau_ed", "tau_es", "tau_tx", "tau_nw")))
        predicted = times.system_time(row["M"], row["measured_offload_ratio"], model)
        found.append(float(predicted) / row["measured_system_time"] - 1)
    return np.array(found)


def _at(runs: pd.DataFrame, trace: str, network_time: float) -> pd.DataFrame:
    """Runs with this replayed trace on this emulated network."""
    rows = emulated(runs)
    return rows[(rows["trace"] == trace) & (rows["network_time"] == network_time)]


def beaten_from(runs: pd.DataFrame, trace: str, network_time: float, clearly: float) -> int:
    """The smallest M of a waiting device from which on a window of four is clearly faster in both times.

    `clearly` is by which share: in single runs what is nearer may be chance. 0 if from none on.
    """
    clearly = checks.real("clearly", clearly, 0, 1)
    rows = _at(runs, trace, network_time)
    rival = rows[rows["window"] == "4"].iloc[0]
    smallest = 0
    for row in waiting(rows).sort_values("M", ascending=False).to_dict("records"):
        if any((1 - clearly) * row[f"measured_{time}"] <= rival[f"measured_{time}"] for time in TIMES):
            break
        smallest = row["M"]
    return smallest


def _beaten(least: int) -> str:
    """What `beaten_from` says, in words."""
    return f"with every batch of {least} or more" if least else "but not with its largest batch"


def cost_shift(runs: pd.DataFrame) -> float:
    """Largest difference of a real pair's cost at any M from that at M = 1, in standard errors of such a mean.

    A cost lies in [0, 1], so that of n samples has a standard error of 1/(2 √n) at most.
    """
    shifts = []
    for _, rows in waiting(real(runs)).groupby("sml"):
        first = rows.loc[rows["M"].idxmin(), "measured_cost"]
        shifts.append(((rows["measured_cost"] - first).abs() * 2 * np.sqrt(rows["samples"])).max())
    return float(max(shifts))


def quantile_errors(runs: pd.DataFrame) -> dict[str, float]:
    """How far measured quantiles of offloaded samples are from the predicted ones: half, nine in ten, and the worst."""
    errors = np.concatenate([quantile_ratio(runs, level) - 1 for level in LEVELS])
    half, most, worst = np.quantile(np.abs(errors), [0.5, 0.9, 1])
    return {"quantiles_half": float(half), "quantiles_most": float(most), "quantiles_worst": float(worst)}


def offload_ratios(runs: pd.DataFrame, trace: str, network_time: float) -> dict[str, float]:
    """The offload ratio of a waiting device with the smallest and with the largest batches."""
    ratios = waiting(_at(runs, trace, network_time)).set_index("M")["measured_offload_ratio"].sort_index()
    return {"ratio_one": ratios.iloc[0], "ratio_most": ratios.iloc[-1], "largest_size": ratios.index[-1]}


def numbers(runs: pd.DataFrame, framework: pd.DataFrame, network_time: float, clearly: float) -> dict[str, Any]:
    """What the page and its claims say, for one of the emulated networks (ms); `clearly` as for `beaten_from`."""
    slow = emulated(runs)
    slow = slow[slow["network_time"] > 0]
    residual, still = slow["residual"].abs(), waiting(slow)
    windows, counted = slow[slow["window"] != WAITS], slow[slow["offloads"].notna()]
    ahead, expected = (rows["expected_system_time"] / rows["measured_system_time"] - 1 for rows in (counted, still))
    response = slow["measured_response_time"] / slow["predicted_response_time"] - 1
    paper, independent = (formula_errors(slow, model) for model in ("paper", "independent"))
    names = {"imagenette": "imagenette", "cifar": "cifar10"}
    traces = {short: next(name for name in slow["trace"] if name.startswith(prefix)) for short, prefix in names.items()}
    beaten = {short: beaten_from(runs, name, network_time, clearly) for short, name in traces.items()}
    claimed = (network_time, clearly) == CLAIMED
    return {
        "runs": len(runs),
        "residual_worst": float(residual.max()),
        "residual_waiting": float(still["residual"].abs().max()),
        "residual_windows": float(windows["residual"].abs().max()),
        "residual_offloads": most(counted["residual"].abs()),
        "expected_offloads_median": float(ahead.abs().median()),
        "expected_offloads_worst": most(ahead.abs()),
        "residual_adaptive": float(slow.loc[slow["how"] == ADAPTIVE, "residual"].abs().max()),
        "response_worst": float(response.abs().max()),
        "expected_worst": float(expected.abs().max()),
        "expected_median": float(expected.abs().median()),
        "expected_above": float((expected < 0).mean()),
        **quantile_errors(slow),
        **offload_ratios(runs, traces["cifar"], network_time),
        "paper_times": 1 + float(paper.max()),
        "independent_most": float(independent.max()),
        **{f"beaten_{short}": least if claimed else math.nan for short, least in beaten.items()},
        **{f"beaten_{short}_says": _beaten(least) for short, least in beaten.items()},
        "cost_shift": cost_shift(runs),
        "framework_p50": float(framework.set_index("level").loc["p50", "milliseconds"]),
        "lost": float(slow["lost"].sum()),
        "network_time": network_time,
        "networks": listed(f"{time:g}" for time in ordered(slow["network_time"])),
        "clearly_percent": 100 * clearly,
    }
