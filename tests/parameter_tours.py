"""Every parameter of every notebook, changed in the ways that a reader may change it, and what must come out then."""

import json
import math

from hi_book.press import claims, notebooks, results
from hi_lib import traces

# What makes a run fast, so that hundreds of them take minutes; what is not here is fast by itself.
FAST = {
    "count_offloads": {"shuffles": 2, "samples": 600, "sequences": 2, "tail_samples": 2000},
    "latency_targets": {"samples": 2000},
    "batch_size_trade_off": {"shuffles": 2, "all_betas": [0.5]},
    "regret_bound": {"draws": 50, "shuffles": 2},
    "sqrt_m_loss": {"sequences": 10, "shuffles": 2},
    "counting_times": {
        "shuffles": 2,
        "samples": 300,
        "arrivals": 8000,
        "queue_runs": 3,
        "queue_sizes": [1, 16],
        "longest_run": 600,
        "learner_runs": 2,
    },
    "fig4_objective": {"shuffles": 2},
    "fig3_cost_vs_batch_size": {"shuffles": 2, "adaptive_shuffles": 1, "batch_sizes": [1, 16, 128]},
    "adaptive_batch_size": {"runs": 2, "samples": 2000, "burst_lengths": [30, 300]},
    "calibration": {"shuffles": 1, "score_shuffles": 1, "batch_sizes": [1, 8, 64]},
    "which_learner": {
        "shuffles": 1,
        "drift_shuffles": 1,
        "map_betas": [0.3, 0.5],
        "map_shuffles": 1,
        "bound_sizes": [16, 64],
        "seeds": 2,
        "budget_draws": 2,
        "devices_shuffles": 1,
    },
    "not_waiting": {"shuffles": 2, "arrivals": 2000, "overheads": [0.0, 50.0]},
    "real_lml": {"shuffles": 2, "batch_sizes": [1, 128]},
    "crowd": {
        "samples": 1000,
        "crowds": [1, 8, 16],
        "map_samples": 100,
        "map_crowds": [1, 8],
        "network_times": [20.0],
        "server_setups": [0.0, 4.0],
        "learned_crowds": [1, 8],
        "shuffles": 1,
    },
}


def tours(name):
    """(parameter, value) of every change of a notebook."""
    for parameter, value in notebooks.default_parameters(name).items():
        for changed in changes(value):
            yield parameter, changed


def changes(value):
    """Other values of a parameter's kind: lists cut and turned round, numbers moved, another trace."""
    if isinstance(value, list):
        return [other for other in (value[:1], value[-1:], value[::-1]) if other != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [other for other in dict.fromkeys((max(value // 2, min(value, 1)), 2 * value)) if other != value]
    if isinstance(value, float):
        return [0.9 * value]
    return [another_trace(value)] if value in traces.shipped() else []


def another_trace(name):
    """A trace of the other data set."""
    shipped = sorted(traces.shipped())
    return next(other for other in shipped if other.split("-")[0] != name.split("-")[0])


def run(name, parameter, value, folder, environment=None):
    """Run a notebook with one parameter changed, on its fast profile; what is wrong with what comes out."""
    chosen = {key: fast for key, fast in FAST.get(name, {}).items() if key != parameter} | {parameter: value}
    notebooks.run_notebook(name, chosen, folder, environment)
    cells = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return list(faults(name, cells, folder / "results"))


def faults(name, cells, below):
    """Figures that are missing, numbers that are none, claims without a verdict."""
    for cell in cells:
        data = [output.get("data", {}) for output in cell.get("outputs", [])]
        text = json.dumps(data, ensure_ascii=False)
        if "figure" in cell["metadata"].get("mystnb", {}) and "image/svg+xml" not in text and "text/html" not in text:
            yield f"no figure: {cell['metadata']['mystnb']['figure']['name']}"
        if any("text/markdown" in each for each in data) and "nan" in text.split():
            yield f"prose says nan: {text[:200]}"
    values = results.numbers(name, below)
    yield from (f"{key} is {value}" for key, value in values.items() if isinstance(value, float) and math.isnan(value))
    for outcome in claims.evaluate([each for each in claims.load_claims() if each.notebook == name], below):
        if outcome.verdict not in (*claims.VERDICTS, results.NOT_COMPUTED):
            yield f"{outcome.claim.id} is {outcome.verdict}"
