"""The page "Decide", which computes in the browser: its questions, and the picture that stands there without a script.

book/decide/advice.js holds the same arithmetic as `hi_lib.advise`, and learner.js the same learner as `learners`. Tests
in a real browser compare what they show with these.
"""

from __future__ import annotations

import html
import itertools
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_book.figures import style
from hi_book.figures.style import DECADES, plain_ticks
from hi_lib import checks
from hi_lib.advise.evaluation import Evaluation
from hi_lib.advise.policies import ALWAYS, FITTED, LEARNER, NEVER, RULE, compare, difference
from hi_lib.advise.ways import Conditions, Sent, Way, best, sent_by, ways
from hi_lib.learners import replay
from hi_lib.paper import Setting, setting_of
from hi_lib.studies.density import weight_density
from hi_lib.traces import Trace, load_trace, shipped

CHOSEN, OTHERS = "#D55E00", "#0072B2"
PRICES, WEIGHT = (0.1, 0.3, 0.5), 0.9  # β, and α, of the table of decisions
WINDOWS_SHOWN = (2, 4, 8)
_RIVALS = (("#777777", "s"), (CHOSEN, "o"), (OTHERS, "D"))  # of the first page, in the order of `rivals`
_NAMED = (1, 2, 4, 8, 16, 64)  # sizes that are written beside their points


class Field(NamedTuple):
    """One number that can be set: allowed in [low, high], or (low, high) if open; a slider covers [start, end]."""

    id: str
    label: str
    low: float
    high: float
    start: float | None = None
    end: float | None = None
    step: float = 0.01
    open: bool = False
    whole: bool = False
    empty: bool = False


QUESTIONS = (
    Field("rho", "offload ratio ρ", 0, 1, 0, 1, 0.001),
    Field("beta", "cost of an offload β (0.1: ten to avoid one wrong answer)", 0, 1, 0, 1),
    Field("alpha", "weight of the system time α (1: throughput, 0: quick answers)", 0, 1, 0.01, 0.99, 0.01, open=True),
    Field("deadline", "answers are late after (ms)", 1e-3, 1e6),
    Field("miss", "that may be (% of all answers)", 0, 99.9),
    Field("devices", "devices that share the server", 1, 200, whole=True),
    Field("gap", "a sample comes every (ms; empty: at once)", 1e-3, 1e7, empty=True),
    Field("price", "cost of a transmission", 0, 10),
)
TIMES = (
    Field("tau_ed", "S-ML on the device, a sample (ms)", 0, 1e6),
    Field("tau_es", "L-ML on the server, a sample (ms)", 0, 1e6),
    Field("kilobytes", "image size (KB of 1024 bytes)", 0, 1e6),
    Field("rate", "uplink rate (Mbit/s)", 1e-3, 1e6),
    Field("tau_nw", "network time, a transmission (ms)", 0, 1e6),
)
WINDOWS = {"1": "one at a time", "2": "2", "4": "4", "8": "8", "inf": "any number"}


def times_of(setting: Setting) -> dict[str, float]:
    """A setting's times as the page's fields have them."""
    tau = setting.timing
    sizes = {"kilobytes": setting.image_bytes / 1024, "rate": setting.rate / 1e6}
    return {"tau_ed": tau.tau_ed, "tau_es": tau.tau_es, "tau_nw": tau.tau_nw} | sizes


def start(log: str, beta: float, alpha: float) -> dict[str, Any]:
    """What the page begins with: a trace by its name, with the times of its setting."""
    checks.real("alpha", alpha, 0, 1, open_ends="()")
    checks.real("beta", beta, 0, 1)
    choices = {"log": log, "aim": "both", "window": "1", "unit": "offloads", "connection": "auto", "calibrated": False}
    numbers = {
        "rho": 0.4,
        "beta": beta,
        "alpha": alpha,
        "deadline": 100,
        "miss": 5,
        "devices": 1,
        "gap": None,
        "price": 0,
    }
    return choices | numbers | times_of(setting_of(log))


def page(names: Sequence[str], first: Mapping[str, Any], says: str, still: str) -> str:
    """HTML of the questions and the answer, to be shown on a page one folder below the book's root.

    `says` and `still`, an SVG, are the recommendation and the picture for what it begins with.
    """
    data = {
        "fields": [field._asdict() for field in (*QUESTIONS, *TIMES)],
        "presets": {name: times_of(setting_of(name)) for name in names},
        "start": dict(first),
    }
    logs = {name: style.trace_title(name) for name in names}
    return _PAGE.format(
        logs=_options(logs | {"own": "a log of your own (CSV)", "": "no log: a share that is offloaded"}),
        windows=_options(WINDOWS),
        questions="\n".join(map(_field, QUESTIONS)),
        times="\n".join(map(_field, TIMES)),
        says=html.escape(says),
        still=still,
        # "<" would end the script if it began "</script".
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    )


def beginning_with(watched: str, names: Sequence[str]) -> list[str]:
    """All names of traces, this one first."""
    return [checks.choice("watched", watched, names), *(name for name in names if name != watched)]


def watch(traces: Iterable[str], beta: float, batch_size: int, still: str) -> str:
    """HTML of the learner at work; `still` is shown where there is no JavaScript."""
    return _WATCH.format(
        options=_options({name: style.trace_title(name) for name in traces}),
        beta=f"{beta:g}",
        batch_size=batch_size,
        still=still,
    )


def command(name: str, beta: float, alpha: float, order: int) -> str:
    """The command that evaluates a trace as the page does."""
    taus = " ".join(f"--{tau.replace('_', '-')} {value:g}" for tau, value in setting_of(name).timing.taus.items())
    file = f"data/traces/{name}.csv" if name in shipped() else f"{name}.csv"
    return f".venv/bin/hi evaluate {shlex.quote(file)} --beta {beta:g} --alpha {alpha:g} {taus} --shuffle {order}"


def decisions(names: Sequence[str], order: int) -> pd.DataFrame:
    """What is recommended for each trace at three prices, with the times of its setting: a row each."""
    rows = []
    for name, beta in itertools.product(names, PRICES):
        compared, conditions = compare(load_trace(name).shuffled(order), beta), Conditions()
        policy, never = compared.chosen(), compared.policies[compared.counted][NEVER]
        sent = best(ways(policy.offloaded, setting_of(name).timing, conditions, WEIGHT), conditions)
        send = sent.way.short if sent and policy.name != NEVER else "nothing"
        saving = difference(never, policy).mean
        rows.append((style.trace_title(name), beta, policy.name, policy.average_cost, saving, send))
    columns = ["S-ML", "β", "policy", "cost a sample", "less than never", "send"]
    return pd.DataFrame(rows, columns=columns)


def numbers(found: Evaluation, decided: pd.DataFrame, rivals: Mapping[str, list[Sent]], title: str) -> dict[str, Any]:
    """What this page and the first one say."""
    counts = decided["policy"].value_counts()
    return {
        "title": title,
        "beta": found.beta,
        "alpha": found.alpha,
        **_compared(rivals),
        "cells": len(decided),
        "pays": int((~decided["policy"].isin([NEVER, ALWAYS])).sum()),
        **{
            name: int(counts.get(policy, 0))
            for name, policy in (("rule", RULE), ("fitted", FITTED), ("learner", LEARNER))
        },
    }


def _compared(rivals: Mapping[str, list[Sent]]) -> dict[str, float]:
    """One by one, the best batch, the best number of offloads, and four out without waiting: both times, ms."""
    batches, offloads, windows = rivals.values()
    chosen = {
        "single": offloads[0],
        "batch": min(batches, key=lambda row: row.objective),
        "counted": min(offloads, key=lambda row: row.objective),
        "out": next(row for row in windows if row.way.window == WINDOWS_SHOWN[1]),
    }
    found: dict[str, float] = {}
    for name, row in chosen.items():
        found |= {
            f"{name}_size": row.way.size,
            f"{name}_system": row.system_time,
            f"{name}_response": row.response_time,
        }
    return found


def draw(found: Evaluation) -> Figure:
    """Response time against system time, a point a way to send; beside it the cost of each policy."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4), width_ratios=[3, 2])
    _draw_ways(left, found.recommendation.ways, found.recommendation.sent)
    _draw_costs(right, found)
    return figure


def rivals(found: Evaluation) -> dict[str, list[Sent]]:
    """The ways to send that the first page compares, all with the offloads of the recommended policy."""
    flags, timing, alpha, around = found.compared.chosen().offloaded, found.timing, found.alpha, Conditions()
    return {
        "batches of M samples": ways(flags, timing, Conditions(unit="samples"), alpha),
        "after m offloads": ways(flags, timing, around, alpha),
        "W out, without waiting": [sent_by(Way(1, window=out), flags, timing, around, alpha) for out in WINDOWS_SHOWN],
    }


def draw_answers(found: Evaluation, lines: Mapping[str, list[Sent]]) -> Figure:
    """Response time against system time for batches, offloads and windows; beside it the cost of each policy."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4), width_ratios=[3, 2])
    for (name, rows), (colour, marker) in zip(lines.items(), _RIVALS, strict=True):
        _draw_line(left, rows, f"{marker}-", colour, name)
        beside = (4, 3) if colour != OTHERS else (-4, -9)
        for row in rows:
            _name_point(left, row, row.way.window or row.way.size, beside, colour)
    _label_both_times(left, [row for rows in lines.values() for row in rows])
    _draw_costs(right, found)
    return figure


def _draw_ways(axis: Axes, rows: list[Sent], chosen: Sent | None) -> None:
    for window in dict.fromkeys(row.way.window for row in rows):
        shown = [row for row in rows if row.way.window == window]
        label = "waits for each answer" if window is None else f"{window:g} transmissions out"
        _draw_line(axis, shown, "o-" if window is None else "s--", OTHERS, label)
        for row in shown:
            _name_point(axis, row, row.way.size, (4, 3), "black")
    if chosen is not None:
        where = (chosen.system_time, chosen.response_time)
        axis.plot(
            *where, "o", ms=9, mfc="none", mew=2, color=CHOSEN, ls="none", label=f"recommended: {chosen.way.short}"
        )
    _label_both_times(axis, rows)


def _draw_line(axis: Axes, rows: list[Sent], line: str, colour: str, label: str) -> None:
    x, y = [row.system_time for row in rows], [row.response_time for row in rows]
    axis.plot(x, y, line, ms=3.5, lw=1, color=colour, label=label)


def _name_point(axis: Axes, row: Sent, size: float, beside: tuple[int, int], colour: str) -> None:
    """Write a size beside its point, if it is one of those that are named."""
    if size in _NAMED:
        where = (row.system_time, row.response_time)
        axis.annotate(f"{size:g}", where, beside, textcoords="offset points", fontsize=7, color=colour)


def _label_both_times(axis: Axes, rows: list[Sent]) -> None:
    """Names of both axes, which are logarithmic unless a time is zero."""
    scale = "log" if all(row.system_time > 0 for row in rows) else "linear"
    axis.set(xscale=scale, yscale=scale, xlabel="system time $t_s$ (ms a sample)", ylabel="response time $t_r$ (ms)")
    for line, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        if scale == "log":
            plain_ticks(line, [tick for tick in DECADES if low <= tick <= high])
    axis.legend(loc="upper right", fontsize=7)


def _draw_costs(axis: Axes, found: Evaluation) -> None:
    policies = found.compared.policies[found.compared.counted]
    places = np.arange(len(policies))
    costs = [policy.average_cost for policy in policies.values()]
    colours = [CHOSEN if name == found.recommendation.policy else OTHERS for name in policies]
    errors = [0.0 if name == NEVER else difference(one, policies[NEVER]).error for name, one in policies.items()]
    axis.barh(places, costs, xerr=errors, color=colours, error_kw={"lw": 1})
    axis.set_yticks(places, list(policies))
    axis.invert_yaxis()
    axis.set(xlabel="cost a sample", ylabel="what is offloaded", xlim=(0, None))
    axis.grid(visible=False, axis="y")


def draw_watched(trace: Trace, beta: float, batch_size: int) -> Figure:
    """What the page shows once a trace is through: the density of θ, and the cost so far beside θ = 1 − β."""
    run, rule = replay(trace, beta, batch_size), replay(trace, beta, learner="fixed", threshold=1 - beta)
    edges, density = weight_density(trace, beta, batch_size, float(run.learning_rate or 0), [len(trace) // batch_size])
    samples = np.arange(1, len(trace) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.6))
    left.stairs(density[0], edges, fill=True, color="#0072B2")
    left.axvline(1 - beta, color="#777777", ls=":")
    left.set(xlabel="threshold θ", ylabel="density")
    right.plot(samples, run.cost.cumsum() / samples, color="#0072B2", label="the learner")
    right.plot(samples, rule.cost.cumsum() / samples, ":", color="#777777", label="θ = 1 − β")
    right.set(xlabel="samples", ylabel="cost a sample", ylim=(0, None))
    right.legend()
    return figure


def _options(titles: Mapping[str, str]) -> str:
    return "".join(f'<option value="{html.escape(key)}">{html.escape(title)}</option>' for key, title in titles.items())


def _field(field: Field) -> str:
    name = f'<label for="hi-{field.id}">{html.escape(field.label)}</label>'
    box = f'<input id="hi-{field.id}" type="number" min="{field.low:g}" max="{field.high:g}" step="any">'
    if field.start is None:
        return f'<p class="hi-field">{name}\n{box}</p>'
    slider = f'type="range" min="{field.start}" max="{field.end}" step="{field.step}"'
    slider = f'<input id="hi-{field.id}-slider" {slider} aria-label="{html.escape(field.label)}, slider">'
    return f'<p class="hi-field">{name}\n{box}\n{slider}</p>'


_PAGE = """
<noscript><p><strong>{says}</strong></p><div>{still}</div><p>This page computes in the browser and needs JavaScript;
without it <code>hi evaluate</code> gives the same recommendation.</p></noscript>
<div id="hi-decide" hidden>
<div id="hi-answer">
<p id="hi-says" role="status" aria-live="polite">{says}</p>
<div id="hi-plot" role="img" aria-label="Both times of every way to send, and the cost of each policy."></div>
<details id="hi-why"><summary>Why, and what would change it</summary><div></div></details>
<p><a id="hi-link" href="#">A link to this setting</a></p>
</div>
<form onsubmit="return false" aria-label="Your setting">
<p class="hi-field"><label for="hi-log">samples of</label><select id="hi-log">{logs}</select></p>
<p class="hi-field"><label for="hi-file">your log (or drop it here; it stays in your browser)</label>
<input id="hi-file" type="file" accept=".csv,.tsv,.txt"></p>
<p id="hi-file-error" role="alert"></p>
<p class="hi-field"><label for="hi-calibrated">a confidence is the probability of being right</label>
<input id="hi-calibrated" type="checkbox"></p>
<p class="hi-field"><label for="hi-aim">what counts</label><select id="hi-aim">
<option value="both">both times, weighed</option><option value="deadline">answers in time</option></select></p>
<p class="hi-field"><label for="hi-window">transmissions that may be out</label>
<select id="hi-window">{windows}</select></p>
{questions}
<details><summary>Times of your device, server and network</summary>
{times}
<p>Sending an image takes <output id="hi-tau_tx"></output> ms.</p>
</details>
<details><summary>More</summary>
<p class="hi-field"><label for="hi-unit">count until sending</label><select id="hi-unit">
<option value="offloads">offloads</option><option value="samples">samples, as the paper does</option></select></p>
<p class="hi-field"><label for="hi-connection">an idle connection</label><select id="hi-connection">
<option value="auto">loses its window (Linux)</option><option value="warm">keeps its window</option></select></p>
</details>
</form>
</div>
<script type="application/json" id="hi-decide-data">{data}</script>
<script src="../decide/plotly.min.js"></script>
<script src="../decide/traces.js"></script>
<script src="../decide/advice.js"></script>
<script src="../decide/decide.js"></script>
"""

_WATCH = """
<noscript><p>The learner works in the browser and needs JavaScript; this is its work on the first trace.</p>
<div role="img" aria-label="Density of the threshold after one run of the learner; its cost beside a rule's.">
{still}</div>
</noscript>
<div id="hi-learner" hidden>
<form onsubmit="return false">
<p class="hi-learn-fields">
<label>Trace <select id="hi-learn-trace">{options}</select></label>
<label>or a CSV of yours
<input id="hi-learn-file" type="file" accept=".csv,.tsv,.txt"></label>
<label>cost of an offload β
<input id="hi-learn-beta" type="number" min="0" max="1" step="any" value="{beta}"></label>
<label>batch size M
<input id="hi-learn-size" type="number" min="1" step="1" value="{batch_size}"></label>
<label>feedback late by (samples)
<input id="hi-learn-delay" type="number" min="0" step="1" value="0"></label>
<label>learning rate <select id="hi-learn-rate"><option>tuned</option><option>adaptive</option></select></label>
<label>or η of your own
<input id="hi-learn-eta" type="number" min="0" step="any" placeholder="none"></label>
</p>
<p class="hi-learn-buttons">
<button type="button" id="hi-learn-next">One batch</button>
<button type="button" id="hi-learn-run">Run</button>
<button type="button" id="hi-learn-end">To the end</button>
<button type="button" id="hi-learn-again">Start again</button>
</p>
</form>
<p id="hi-learn-error" role="alert"></p>
<p id="hi-learn-says" role="status" aria-live="polite"></p>
<div id="hi-learn-plot" role="img"
aria-label="Density of the threshold; cost a sample so far; regret and its bound. The text above says them."></div>
<div id="hi-learn-timeline"></div>
<p id="hi-learn-span"></p>
</div>
<script src="../decide/learner.js"></script>
"""
