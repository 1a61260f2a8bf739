import numpy as np
import pytest

import hi_lib as hi
from hi_lib import sweeps

NAME = "imagenette-mobilenet_v1_0.25_128"


def test_a_row_is_one_replay():
    table = sweeps.sweep([NAME], [0.3, 0.7], [1, 16], ["tuned", "vanilla", 0.2], range(2))
    assert len(table) == 2 * 2 * 3 * 2
    row = table[(table["beta"] == 0.7) & (table["batch_size"] == 16) & (table["seed"] == 1)].set_index("learning_rate")
    trace = hi.load_trace(NAME).shuffled(1)
    vanilla_rate = hi.tuned_learning_rate(len(trace), 1, hi.lambda_min(trace))
    for name, rate in {"tuned": "tuned", "vanilla": vanilla_rate, 0.2: 0.2}.items():
        run = hi.replay(trace, 0.7, 16, learning_rate=rate)
        assert row.loc[name, "average_cost"] == run.average_cost
        assert row.loc[name, "regret_bound"] == run.regret_bound
        assert row.loc[name, "transmissions"] * len(trace) == pytest.approx(run.transmissions)


def test_summaries_are_over_seeds():
    table = sweeps.sweep([NAME], [0.5], [8], ["tuned"], range(3))
    summary = sweeps.summarise(table, ["trace", "batch_size"], ["average_cost"])
    assert list(summary) == ["trace", "batch_size", "average_cost_mean", "average_cost_std"]
    assert summary["average_cost_std"].item() == pytest.approx(np.std(table["average_cost"], ddof=1))
