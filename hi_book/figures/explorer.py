"""The explorer: a page of the book that computes in the browser, without a kernel.

Here are its forms, its table and its presets; book/explorer/explorer.js holds the same timing model as
`timing`, and learner.js the same learner as `learners`. Tests in a real browser compare what they show with these.
"""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import joblib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hi_book.figures import style
from hi_book.figures.values import ordered
from hi_lib import checks
from hi_lib.learners import replay
from hi_lib.paper import Setting, setting_of
from hi_lib.studies.density import weight_density
from hi_lib.timing import MODEL_NAMES, TimingModel
from hi_lib.traces import Trace, shipped

BATCH_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # of the learner's runs
MODELS = MODEL_NAMES | {"offloads": "sent after m offloads"}
ROWS = MODELS | {"run": "the learner's runs", "vanilla": "vanilla HI"}
_DEVICE = TimingModel(1, 0, 0, 0)


class Field(NamedTuple):
    """One number that can be set: allowed in [low, high], or (low, high) if open; the slider covers [start, end]."""

    id: str
    label: str
    low: float
    high: float
    start: float
    end: float
    step: float
    open: bool = False


FIELDS = (
    Field("rho", "offload ratio ρ", 0, 1, 0, 1, 0.001),
    Field("alpha", "weight of the system time α", 0, 1, 0.01, 0.99, 0.01, open=True),
    Field("tau_ed", "S-ML on the device, a sample (ms)", 0, 1e6, 0, 50, 0.01),
    Field("tau_es", "L-ML on the server, a sample (ms)", 0, 1e6, 0, 50, 0.01),
    Field("kilobytes", "image size (KB of 1024 bytes)", 0, 1e6, 0, 200, 0.01),
    Field("rate", "uplink rate (Mbit/s)", 1e-3, 1e6, 1, 200, 0.1),
    Field("tau_nw", "network time, a transmission (ms)", 0, 1e6, 0, 200, 0.1),
)
_COLUMNS = {
    "real": "M† or m†",
    "size": "M* or m*",
    "system": "t_s (ms)",
    "response": "t_r (ms)",
    "objective": "f (ms)",
    "true": "f, independent, anywhere (ms)",
}


def runs_of(trace: Trace, betas: Iterable[float], seeds: Iterable[int]) -> dict[float, dict[str, list[float]]]:
    """What HIL-F's runs say of times on any device, for each β: lists over `BATCH_SIZES`, means over shuffles.

    By `TimingModel.of_run`, t_s = τ_ed + offloaded (τ_es + τ_tx) + sent τ_nw and
    t_r = waited τ_ed + served (τ_es + τ_tx) + offloaded τ_nw, all a sample.
    """
    points = [(beta, size) for beta in ordered(betas) for size in BATCH_SIZES]
    orders = [(seed, trace.shuffled(seed)) for seed in seeds]
    shares = joblib.Parallel(n_jobs=-1, prefer="threads")(
        joblib.delayed(_shares)(orders, beta, size) for beta, size in points
    )
    found: dict[float, dict[str, list[float]]] = {beta: {} for beta, _ in points}
    for (beta, _), share in zip(points, shares, strict=True):
        for name, value in share.items():
            found[beta].setdefault(name, []).append(value)
    return found


def _shares(orders: Iterable[tuple[int, Trace]], beta: float, size: int) -> dict[str, float]:
    rows = []
    for seed, trace in orders:
        run = replay(trace, beta, size, seed=seed)
        times, n = _DEVICE.of_run(run), len(trace)
        rows.append((times.offloads / n, times.transmissions / n, times.response_time, times.served / n))
    means = np.mean(rows, axis=0).tolist()
    return dict(zip(("offloaded", "sent", "waited", "served"), means, strict=True))


def command(name: str, beta: float, alpha: float) -> str:
    """The command that evaluates a trace as the page does, in the order of its first shuffle."""
    times, file = setting_of(name).timing, f"data/traces/{name}.csv" if name in shipped() else f"{name}.csv"
    taus = " ".join(f"--{tau.replace('_', '-')} {value:g}" for tau, value in times.taus.items())
    return f".venv/bin/hi evaluate {shlex.quote(file)} --beta {beta:g} --alpha {alpha:g} {taus} --shuffle 0"


def preset(
    title: str,
    setting: Setting,
    ratios: Mapping[float, float],
    first: tuple[float, float],
    runs: Mapping[float, Mapping[str, list[float]]] | None = None,
) -> dict[str, Any]:
    """A choice for the explorer: the times of a setting, and an offload ratio for each β.

    `first` are β, or the nearest one to it, and α at first; `runs`, if there are any, are those of `runs_of`.
    """
    times, (beta, alpha) = setting.timing, first
    checks.real("alpha", alpha, 0, 1, open_ends="()")
    return {
        "title": title,
        "beta": f"{min(ratios, key=lambda each: abs(each - beta)):g}",
        "ratios": {f"{each:g}": round(ratio, 4) for each, ratio in ratios.items()},
        "runs": {
            f"{each:g}": {name: [round(value, 6) for value in values] for name, values in shares.items()}
            for each, shares in (runs or {}).items()
        },
        "values": {
            "alpha": alpha,
            "tau_ed": times.tau_ed,
            "tau_es": times.tau_es,
            "kilobytes": setting.image_bytes / 1024,
            "rate": setting.rate / 1e6,
            "tau_nw": times.tau_nw,
        },
    }


def page(presets: Mapping[str, dict[str, Any]]) -> str:
    """HTML of the explorer, to be shown on a page one folder below the book's root."""
    data = {"presets": presets, "fields": [field._asdict() for field in FIELDS], "models": MODELS} | {
        "sizes": BATCH_SIZES,
        "run": ROWS["run"],
    }
    return _PAGE.format(
        options=_options({key: each["title"] for key, each in presets.items()}),
        fields="\n".join(_field(field) for field in FIELDS),
        head="".join(f'<th scope="col">{title}</th>' for title in _COLUMNS.values()),
        rows="\n".join(_row(row, title) for row, title in ROWS.items()),
        # "<" would end the script if it began "</script".
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    )


def beginning_with(watched: str, names: Sequence[str]) -> list[str]:
    """All names of traces, this one first."""
    return [checks.choice("watched", watched, names), *(name for name in names if name != watched)]


def watch(traces: Iterable[str], beta: float, batch_size: int, still: str) -> str:
    """HTML of the learner at work, to be shown below the explorer; `still` is shown where there is no JavaScript."""
    return _WATCH.format(
        options=_options({name: style.trace_title(name) for name in traces}),
        beta=f"{beta:g}",
        batch_size=batch_size,
        still=still,
    )


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


def _row(row: str, title: str) -> str:
    cells = "".join(f'<td id="hi-{row}-{column}"></td>' for column in _COLUMNS)
    return f'<tr><th scope="row">{title}</th>{cells}</tr>'


def _field(field: Field) -> str:
    slider = f'type="range" min="{field.start}" max="{field.end}" step="{field.step}"'
    return (
        f'<p class="hi-field"><label for="hi-{field.id}">{field.label}</label>\n'
        f'<input id="hi-{field.id}-slider" {slider} aria-label="{field.label}, slider">\n'
        f'<input id="hi-{field.id}" type="number" min="{field.low:g}" max="{field.high:g}" step="any"></p>'
    )


_PAGE = """
<noscript><p>The explorer computes in the browser and needs JavaScript. Without it, the figures of the other pages and
<code>hi evaluate</code> give the same numbers.</p></noscript>
<div id="hi-explorer" hidden>
<form onsubmit="return false">
<p><label for="hi-preset">Start from</label>
<select id="hi-preset"><option value="">your own numbers</option>{options}</select>
<label for="hi-beta">at</label> <select id="hi-beta"></select></p>
{fields}
<p>Sending an image takes <output id="hi-tau_tx"></output> ms.</p>
</form>
<p id="hi-says" role="status" aria-live="polite"></p>
<table>
<caption>The best batch size, and the times with it</caption>
<thead><tr><th scope="col">counted by</th>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<div id="hi-plot" role="img"
aria-label="Both times and the objective against the batch size or the offloads; the table has the best."></div>
</div>
<script type="application/json" id="hi-explorer-data">{data}</script>
<script src="../explorer/plotly.min.js"></script>
<script src="../explorer/explorer.js"></script>
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
<script src="../explorer/traces.js"></script>
<script src="../explorer/learner.js"></script>
"""
