"""All changes of all parameters of all notebooks."""

import pytest
from parameter_tours import run, tours

from hi_book.press import notebooks


@pytest.mark.parametrize("name", notebooks.notebook_names())
def test_any_value_of_a_parameters_kind_gives_a_page(name, tmp_path):
    wrong = []
    for parameter, value in tours(name):
        try:
            wrong += [f"{parameter} = {value}: {fault}" for fault in run(name, parameter, value, tmp_path)]
        except notebooks.BuildError as error:
            wrong.append(f"{parameter} = {value}: {str(error).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)
