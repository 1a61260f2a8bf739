"""All changes of all parameters of all notebooks, and logs of one's own."""

import pytest
from parameter_tours import run, tours

from hi_book.press import mine, notebooks


@pytest.mark.parametrize("name", notebooks.notebook_names())
def test_any_value_of_a_parameters_kind_gives_a_page(name, tmp_path):
    wrong = []
    for parameter, value in tours(name):
        try:
            wrong += [f"{parameter} = {value}: {fault}" for fault in run(name, parameter, value, tmp_path)]
        except notebooks.BuildError as error:
            wrong.append(f"{parameter} = {value}: {str(error).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


LOGS = {
    "short": [(0.3 + 0.023 * place, place % 3 > 0) for place in range(30)],
    "one sample": [(0.4, False)],
    "always sure": [(1.0, True)] * 30,
}


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("name", mine.TAKES)
def test_any_log_gives_a_page(name, log, tmp_path):
    rows = [f"{confidence},{correct:d}" for confidence, correct in LOGS[log]]
    (tmp_path / "mine.csv").write_text("\n".join(["confidence,correct", *rows]) + "\n")
    parameter = mine.TAKES[name]
    value = ["mine"] if isinstance(notebooks.default_parameters(name)[parameter], list) else "mine"
    assert run(name, parameter, value, tmp_path / "run", {"HI_TRACES": str(tmp_path)}) == []
