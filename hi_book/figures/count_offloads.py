"""Count offloads, not samples: the figures of that page, and the numbers its claims rest on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures import streams
from hi_book.figures.style import dataset_colour, name_beside, plain_ticks, shared_legend
from hi_book.figures.values import at, between, least, most, ordered
from hi_lib import checks, cycles, regret
from hi_lib.events.queueing import mean_error, poisson_arrivals
from hi_lib.events.simulation import Listed, simulate
from hi_lib.learners import Run, replay
from hi_lib.paper import Setting
from hi_lib.regret import best_threshold
from hi_lib.studies.made_up import halving_coins, synthetic_trace
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace

_RATIOS = 60  # points of an axis of offload ratios
SAMPLES, OFFLOADS = "samples", "offloads"
_BLOCK = 1000  # samples of a stretch whose mean counts as one
_INK = {SAMPLES: "#777777", OFFLOADS: "#D55E00"}
_SAYS = {SAMPLES: "after M samples", OFFLOADS: "after m offloads"}


class Stream(streams.Stream):
    """Samples in several random orders, on which HIL-F is run."""

    def run(self, number: int, size: int, unit: str, rate: str | float, price: float = 0.0) -> Run:
        """HIL-F on one order, which decides its draws, too."""
        order = self.orders[number]
        return replay(order, self.beta, size, learning_rate=rate, seed=number, unit=unit, price=price)

    def floor(self, size: int, unit: str, price: float) -> float:
        """Mean cost a sample of the best fixed threshold at this price of a transmission, over the orders."""
        if unit == OFFLOADS or not price:
            found = [best_threshold(order, min(1.0, self.beta + price / size)) for order in self.orders]
        else:
            found = [best_threshold(order, self.beta, batch_size=size, price=price) for order in self.orders]
        return float(np.mean([one.average_cost for one in found]))


def at_work(case: Stream, sizes: Mapping[str, Sequence[int]], rate: str | float) -> Life:
    """A row for each unit, size and order: both times (ms), average cost, transmissions a sample, regret and bound."""
    rows = []
    for unit, each in sizes.items():
        for size in sorted(set(each)):
            for number in range(len(case.orders)):
                run = case.run(number, size, unit, rate)
                times = case.timing.of_run(run)
                measured = times.system_time, times.response_time, run.average_cost, run.transmissions / run.cost.size
                rows.append((unit, size, number, *measured, run.regret, run.regret_bound))
    columns = ["unit", "size", "order", "t_s (ms)", "t_r (ms)", "cost", "transmissions", "regret", "bound"]
    return Life(case.title, pd.DataFrame(rows, columns=columns))


class Life(NamedTuple):
    """What a device did on a stream, under the stream's title."""

    title: str
    rows: pd.DataFrame


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the orders, a row for each unit and size."""
    return table.groupby(["unit", "size"], sort=False).mean().drop(columns="order").reset_index()


def all_means(lives: Sequence[Life]) -> pd.DataFrame:
    """The means of all streams in one table."""
    return pd.concat([means(rows).assign(trace=title) for title, rows in lives], ignore_index=True)


def draw_fronts(found: Sequence[Life]) -> Figure:
    """Mean response time against system time, a panel a data set: batches of M, and m offloads."""
    figure, axes = plt.subplots(1, len(found), figsize=(3.8 * len(found), 3.7), squeeze=False)
    for axis, (title, rows) in zip(axes[0], found, strict=True):
        table = means(rows)
        for unit, mark in ((SAMPLES, "o"), (OFFLOADS, "s")):
            line = table[table["unit"] == unit]
            axis.plot(line["t_s (ms)"], line["t_r (ms)"], f"{mark}-", ms=3.5, color=_INK[unit], label=_SAYS[unit])
            below = unit == OFFLOADS
            for _, row in line.iterrows():
                # Small batches lie too close together to be named.
                if row["size"] not in ((1, 2, 3, 4, 8, 16) if below else (8, 16, 32, 64)):
                    continue
                text, point = f"{'m' if below else 'M'} = {row['size']:g}", (row["t_s (ms)"], row["t_r (ms)"])
                place = {"xytext": (-4, -7), "ha": "right"} if below else {"xytext": (4, 6)}
                name_beside(axis, "M = m = 1" if row["size"] == 1 else text, point, _INK[unit], **place)
        axis.set(title=title, xlabel="system time $t_s$ (ms a sample)", yscale="log")
        low, high = table["t_s (ms)"].min(), table["t_s (ms)"].max()
        axis.set_xlim(low - 0.25 * (high - low), high + 0.18 * (high - low))
        axis.margins(y=0.1)  # the names of the first and the last point stay inside
        plain_ticks(
            axis.yaxis, [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200) if tick < 2 * table["t_r (ms)"].max()]
        )
    axes[0][0].set_ylabel("response time $t_r$ (ms)")
    shared_legend(figure, 2)
    return figure


def optima(settings: Mapping[str, Setting], one: float, other: float, alpha: float) -> pd.DataFrame:
    """M* (independent offloads anywhere in a batch) and m* for each data set, and offload ratios between two ends."""
    ratios = between((checks.share("least_ratio", one), checks.share("largest_ratio", other)), _RATIOS, np.geomspace)
    rows = [
        (
            title,
            ratio,
            timing.optimal_batch_size(ratio, alpha, "average").integer,
            timing.optimal_batch_size(ratio, alpha, unit=OFFLOADS).integer,
        )
        for title, timing in _timings(settings)
        for ratio in ratios.tolist()
    ]
    return pd.DataFrame(rows, columns=["data set", "ρ", "M*", "m*"])


def _timings(settings: Mapping[str, Setting]) -> list[tuple[str, TimingModel]]:
    return [(title, setting.timing) for title, setting in settings.items()]


def mistuned(settings: Mapping[str, Setting], table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """How many times the least f a size costs that is best at another ρ: the worst, for each ρ that is met."""
    rows = []
    for title, timing in _timings(settings):
        found = table[table["data set"] == title]
        for ratio in found["ρ"]:
            fs = {
                SAMPLES: timing.objective(found["M*"].to_numpy(), ratio, alpha, "average"),
                OFFLOADS: timing.objective(found["m*"].to_numpy(), ratio, alpha, unit=OFFLOADS),
            }
            least_f = {unit: float(values[found["ρ"].to_numpy() == ratio][0]) for unit, values in fs.items()}
            rows.append((title, ratio, *(float(fs[unit].max()) / least_f[unit] for unit in fs)))
    return pd.DataFrame(rows, columns=["data set", "ρ", SAMPLES, OFFLOADS])


def draw_optima(best: pd.DataFrame, worst: pd.DataFrame) -> Figure:
    """The best M and m against ρ, and what it costs to be tuned for another ρ."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4))
    for title, rows in best.groupby("data set", sort=False):
        lines, ink = worst[worst["data set"] == title], dataset_colour(str(title))
        for unit, column, style in ((SAMPLES, "M*", "--"), (OFFLOADS, "m*", "-")):
            left.plot(rows["ρ"], rows[column], style, drawstyle="steps-mid", color=ink)
            right.plot(lines["ρ"], lines[unit], style, color=ink)
    left.set(ylabel="best size", yscale="log")
    right.set(ylabel="f over the least f, at worst", yscale="log")
    plain_ticks(left.yaxis, [1, 2, 5, 10, 20, 50, 100, 200])
    plain_ticks(right.yaxis, [1, 1.5, 2, 3, 5, 8])
    for axis in (left, right):
        axis.set(xscale="log", xlabel="offload ratio ρ")
        plain_ticks(axis.xaxis, [tick for tick in (0.01, 0.03, 0.1, 0.3, 1) if best["ρ"].min() <= tick * 1.01])
        if axis is left:
            for title in best["data set"].unique():
                axis.plot([], [], color=dataset_colour(str(title)), label=title)
        for unit, style in (("M", "--"), ("m", "-")):
            axis.plot([], [], style, color="#555555", label=f"best {unit}" if axis is left else f"tuned {unit}")
        axis.legend(fontsize=7.5)
    return figure


def priced(
    case: Stream, sizes: Mapping[str, Sequence[int]], prices: Sequence[float], rate: str | float
) -> pd.DataFrame:
    """Cost, the price of transmissions included and learned, against the wait; a row for each price, unit and size."""
    rows = []
    for price in sorted(set(prices)):
        for unit, each in sizes.items():
            for size in sorted(set(each)):
                runs = [case.run(number, size, unit, rate, price) for number in range(len(case.orders))]
                response = np.mean([case.timing.of_run(run).response_time for run in runs])
                spent = [_paid(run, case.beta, price) for run in runs]
                rows.append((price, unit, size, response, np.mean(spent), case.floor(size, unit, price)))
    return pd.DataFrame(rows, columns=["price", "unit", "size", "t_r (ms)", "cost", "best fixed"])


def _paid(run: Run, beta: float, price: float) -> float:
    """Average cost with the price of every transmission that is sent, also of those that a trace's end cuts short."""
    offloads = run.offload_probability
    return float((beta * offloads.sum() + price * run.transmissions) / offloads.size + _wrong(run))


def _wrong(run: Run) -> float:
    """Expected share of wrong answers."""
    return float(((1 - run.offload_probability) * ~run.correct).mean())


def draw_prices(table: pd.DataFrame) -> Figure:
    """Cost against the mean response time, a panel a price."""
    prices = table["price"].unique()
    figure, axes = plt.subplots(1, len(prices), figsize=(2.55 * len(prices), 3.1), squeeze=False)
    for axis, price in zip(axes[0], prices, strict=True):
        for unit, mark in ((SAMPLES, "o"), (OFFLOADS, "s")):
            line = table[(table["price"] == price) & (table["unit"] == unit)]
            axis.plot(line["t_r (ms)"], line["cost"], f"{mark}-", ms=3.5, color=_INK[unit], label=_SAYS[unit])
            axis.plot(
                line["t_r (ms)"], line["best fixed"], ":", lw=1, color=_INK[unit], label="the best fixed θ of each"
            )
            last, below = line.iloc[-1], unit == OFFLOADS
            place = {"xytext": (-3, -8), "ha": "right"} if below else {"xytext": (3, 6)}
            text = f"{'m' if below else 'M'} = {last['size']:g}"
            name_beside(axis, text, (last["t_r (ms)"], last["cost"]), _INK[unit], **place)
        axis.set(title=f"{price:g} a transmission", xscale="log", xlabel="response time (ms)")
        plain_ticks(axis.xaxis, [tick for tick in (10, 30, 100, 300) if tick < 1.5 * table["t_r (ms)"].max()])
        axis.margins(x=0.2, y=0.15)
    axes[0][0].set_ylabel("cost a sample")
    shared_legend(figure, 2)
    return figure


class Joules(NamedTuple):
    """What an image and a transmission cost the device, and what avoiding a wrong answer is worth to its owner, J."""

    image: float
    transmission: float
    answer: float


def energy(case: Stream, joules: Joules, sizes: Mapping[str, Sequence[int]], rate: str | float) -> pd.DataFrame:
    """Joules a sample that the radio takes, and wrong answers, where a joule is a price: a row for each unit and size.

    `total` is what the learner minimises: joules, with a wrong answer at its worth.
    """
    for name, value in joules._asdict().items():
        checks.real(f"{name}_joules", value, 0, np.inf, open_ends=")" if name != "answer" else "()")
    stream = replace(case, beta=checks.real("image_joules / answer_joules", joules.image / joules.answer, 0, 1))
    rows = []
    for unit, each in sizes.items():
        for size in ordered(each):
            found = []
            for number in range(len(stream.orders)):
                run = stream.run(number, size, unit, rate, joules.transmission / joules.answer)
                total = joules.answer * _paid(run, stream.beta, joules.transmission / joules.answer)
                wrong = _wrong(run)
                found.append((total - joules.answer * wrong, wrong, total, stream.timing.of_run(run).response_time))
            rows.append((unit, size, *np.mean(found, axis=0)))
    return pd.DataFrame(rows, columns=["unit", "size", "radio (J)", "wrong answers", "total (J)", "t_r (ms)"])


def energy_numbers(table: pd.DataFrame) -> dict[str, float]:
    """The batch and the number of offloads, beyond single ones, whose answers come most nearly after the same time."""
    ways = {unit: rows[rows["size"] > 1].to_dict("records") for unit, rows in table.groupby("unit")}
    if set(ways) != {SAMPLES, OFFLOADS} or not all(ways.values()):
        names = ("size", "total", "response")
        return {f"energy_{unit}_{name}": math.nan for unit in (SAMPLES, OFFLOADS) for name in names}
    pairs = itertools.product(ways[SAMPLES], ways[OFFLOADS])
    nearest = min(pairs, key=lambda pair: abs(math.log(pair[0]["t_r (ms)"] / pair[1]["t_r (ms)"])))
    return {
        f"energy_{row['unit']}_{name}": row[column]
        for row in nearest
        for name, column in (("size", "size"), ("total", "total (J)"), ("response", "t_r (ms)"))
    }


def energy_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The page's table: who sends how, and what comes of it."""
    letters = {SAMPLES: "M", OFFLOADS: "m"}
    sent = [f"{letters[unit]} = {size}" for unit, size in zip(table["unit"], table["size"], strict=True)]
    shown = table.drop(columns=["unit", "size"]).rename(columns={"wrong answers": "share of wrong answers"})
    shown.insert(0, "sent", sent)
    return shown


def _drawn(beta: float, sequences: int) -> Iterator[tuple[int, Trace, str | float]]:
    """What bounds are tried on, by seed: coins in blocks and made-up samples, each with every kind of rate."""
    for seed in range(sequences):
        traces = halving_coins(4, 25, 4, beta, seed), synthetic_trace(400, seed=seed)
        yield from itertools.product((seed,), traces, (0.1, "tuned", "adaptive"))


def price_bounds(beta: float, prices: Sequence[float], sequences: int) -> dict[str, float]:
    """T23: the largest regret over its bound where a transmission has a price, on coins and made-up samples."""
    ratios = []
    for _, trace, rate in _drawn(beta, sequences):
        for size, price in itertools.product((1, 4, 32), ordered(prices)):
            run = replay(trace, beta, size, learning_rate=rate, price=price)
            ratios.append(run.regret / (run.regret_bound or math.nan))
    return {"t23_ratio_max": most(ratios)}


def tails(setting: Setting, offloads: int, waits: Sequence[float], rate: float, samples: int) -> pd.DataFrame:
    """Response times of offloads (ms) where samples arrive at random, so many a second, by the longest wait (ms)."""
    timing, ratio = setting.timing, checks.share("offload_ratio", setting.offload_ratio)
    rng = np.random.default_rng(0)
    flags, arrivals = rng.random(samples) < ratio, poisson_arrivals(samples, rate / 1000, seed=1)
    rows = []
    for wait in [*sorted(set(waits)), math.inf]:
        log = simulate(timing, flags, offloads, unit=OFFLOADS, arrivals=arrivals, max_wait=wait)
        late, sent = log.response_time[log.offloaded], log.offloads[log.offloads > 0]
        levels = [float(np.quantile(late, level)) for level in (0.5, 0.95, 0.99)] if late.size else [math.nan] * 3
        rows.append(
            ("none" if wait == math.inf else f"{wait:g} ms", *levels, float(sent.mean()) if sent.size else math.nan)
        )
    return pd.DataFrame(rows, columns=["longest wait", "median", "95 %", "99 %", "offloads a transmission"])


def afresh(case: Stream, sizes: Sequence[int], rate: str | float) -> pd.DataFrame:
    """Batches of M with one θ, and with a θ for each sample: the same expected cost, other transmissions."""
    rows = []
    for size in sorted(set(sizes)):
        for number, order in enumerate(case.orders):
            run = case.run(number, size, SAMPLES, rate)
            starts = np.arange(0, len(order), size)
            quiet = np.multiply.reduceat(1 - run.offload_probability, starts)
            rows.append((size, run.average_cost, run.transmissions / starts.size, float((1 - quiet).mean())))
    table = pd.DataFrame(rows, columns=["M", "cost", "sends, one θ a batch", "sends, one θ a sample"])
    return table.groupby("M").mean().reset_index()


def rules_simulated(setting: Setting, samples: int) -> pd.DataFrame:
    """T19 for four rules that look at what is pending and how old it is: both times simulated, and by two moments."""
    timing, ratio = setting.timing, checks.share("offload_ratio", setting.offload_ratio)
    flags = np.random.default_rng(7).random(samples) < ratio
    rows = []
    for name, sizes in _rules(flags).items():
        log = simulate(timing, flags, Listed(sizes))
        sent = log.offloads[log.offloads > 0]
        first, second = sent.mean(), (sent.astype(float) ** 2).mean()
        service, kappa = timing.tau_es + timing.tau_tx, second / first
        rho = flags.mean()
        system = timing.tau_ed + rho * service + rho * timing.tau_nw / first
        response = timing.tau_ed + rho * timing.tau_nw + rho * service * kappa + timing.tau_ed * (kappa - 1) / 2
        error = mean_error(log.response_time, min(_BLOCK, samples // 2))
        rows.append((name, log.system_time, system, float(log.response_time.mean()), response, error))
    columns = ["rule", "t_s simulated", "t_s by T19", "t_r simulated", "t_r by T19", "standard error of t_r"]
    return pd.DataFrame(rows, columns=columns)


def _rules(flags: Any) -> dict[str, Sequence[int]]:
    """Sizes of the cycles of some rules, which know nothing of the next offload."""
    n, rng = flags.size, np.random.default_rng(8)
    coin, rows, age, pending = rng.random(n), [], 0, 0
    for t in range(n):
        age, pending = age + 1, pending + flags[t]
        if pending >= 3 or (pending and age >= 10) or (pending and coin[t] < 0.1):
            rows.append(age)
            age = pending = 0
    mixed, start, met = [], 0, np.flatnonzero(flags)
    while start < n:
        wanted = 2 + int(rng.random() < 0.5)
        ahead = met[np.searchsorted(met, start) :]
        stop = int(ahead[wanted - 1]) + 1 if ahead.size >= wanted else n
        mixed.append(stop - start)
        start = stop
    return {
        "batches of 8": regret.fixed_sizes(n, 8).tolist(),
        "3 offloads": cycles.lengths(flags, 3).tolist(),
        "2 or 3 offloads, by a coin": mixed,
        "3 offloads, age 10, or a coin": [*rows, *([age] if age else [])],
    }


def bounds(beta: float, sequences: int) -> dict[str, float]:
    """T21: the largest regret over its bound, on coins in blocks and on made-up samples; and what no cap costs."""
    ratios = []
    for seed, trace, rate in _drawn(beta, sequences):
        for offloads, cap in ((1, 10), (3, 20), (3, 100)):
            run = replay(trace, beta, offloads, learning_rate=rate, seed=seed, unit=OFFLOADS, max_samples=cap)
            ratios.append(run.regret / (run.regret_bound or math.nan))
    adversary = Trace(np.full(1000, np.nextafter(1.0, 0.0)), np.zeros(1000))
    free, capped = (
        replay(adversary, beta, 1, learning_rate=1.0, seed=0, unit=OFFLOADS, max_samples=cap) for cap in (None, 10)
    )
    return {"t21_ratio_max": most(ratios), "uncapped_regret": free.regret, "capped_regret": capped.regret}


def numbers(
    lives: Sequence[Life],
    best: pd.DataFrame,
    worst: pd.DataFrame,
    rules: pd.DataFrame,
    price_table: pd.DataFrame,
    alphas: Sequence[float],
) -> dict[str, Any]:
    """What the claims and the text rest on."""
    system = (rules["t_s simulated"] / rules["t_s by T19"] - 1).abs()
    response = (rules["t_r simulated"] - rules["t_r by T19"]).abs() / rules["standard error of t_r"]
    return {
        "t19_response_errors": most(response),
        "t19_system_off": most(system),
        **_second_moments(best["ρ"]),
        **_ranges(best),
        "mistuned_samples": most(worst[SAMPLES]),
        "mistuned_offloads": most(worst[OFFLOADS]),
        **_dominated(lives),
        **_gains(lives, alphas),
        **_price_gain(price_table),
    }


def _second_moments(ratios: pd.Series) -> dict[str, float]:
    """T20: the least excess of E[X²] of batches of M >= 3 over that of neighbouring whole numbers, relatively."""
    excess = []
    for ratio in ratios:
        for size in (3, 5, 9, 30):
            first = ratio * size / -math.expm1(size * math.log1p(-ratio)) if ratio < 1 else float(size)
            low = math.floor(first + 1e-12)
            mixed = low**2 + (first - low) * (2 * low + 1)
            excess.append(first * (1 + (size - 1) * ratio) / mixed - 1)
    return {"t20_excess_min": least(excess)}


def _ranges(best: pd.DataFrame) -> dict[str, float]:
    found = {}
    for key, title in (("imagenette", "Imagenette"), ("cifar", "CIFAR-10")):
        rows = best[best["data set"] == title]
        for name, column in (("samples", "M*"), ("offloads", "m*")):
            found[f"{key}_{name}_least"], found[f"{key}_{name}_most"] = least(rows[column]), most(rows[column])
    return found


def _dominated(lives: Sequence[Life]) -> dict[str, Any]:
    """How many batches of M >= 2 are beaten by some m, or by one m for a while and then another, and of how many.

    Both times are means over samples: who takes turns has what lies on the line between. Also how far costs are apart.
    """
    beaten = total = 0
    costs = []
    for _, rows in lives:
        table = means(rows)
        ours = table[table["unit"] == OFFLOADS].sort_values("t_s (ms)")
        theirs = table[(table["unit"] == SAMPLES) & (table["size"] >= 2)]
        theirs = theirs[theirs["t_s (ms)"] >= ours["t_s (ms)"].min()]  # faster than all m tried: not comparable
        answers = np.interp(theirs["t_s (ms)"], ours["t_s (ms)"], ours["t_r (ms)"])
        beaten, total = beaten + int((answers <= theirs["t_r (ms)"]).sum()), total + len(theirs)
        costs.append(table["cost"].max() - table["cost"].min())
    return {"batches_beaten": beaten, "batches_tried": total, "cost_spread": most(costs)}


def _gains(lives: Sequence[Life], alphas: Sequence[float]) -> dict[str, Any]:
    """By how many per cent the best m lowers f against the best M, at these weights: least and most."""
    gains = []
    for _, rows in lives:
        table = means(rows)
        for alpha in alphas:
            f = alpha * table["t_s (ms)"] + (1 - alpha) * table["t_r (ms)"]
            by_unit = f.groupby(table["unit"]).min()
            gains.append(100 * (1 - at(by_unit, OFFLOADS) / at(by_unit, SAMPLES)))
    return {"gain_least": least(gains), "gain_most": most(gains)}


def _price_gain(table: pd.DataFrame) -> dict[str, float]:
    """At the largest price: the cost of single offloads, and of the most offloads and samples that were tried."""
    dear = table[table["price"] == table["price"].max()]
    ends = {unit: dear[dear["unit"] == unit]["cost"] for unit in (SAMPLES, OFFLOADS)}
    return {
        "dearest": float(table["price"].max()),
        "cost_single": float(ends[OFFLOADS].iloc[0]),
        "cost_offloads": float(ends[OFFLOADS].iloc[-1]),
        "cost_samples": float(ends[SAMPLES].iloc[-1]),
        "price_regret_most": most(table["cost"] - table["best fixed"]),
    }
