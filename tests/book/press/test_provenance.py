"""What stands under a figure: true for the parameters that the notebook ran with, whatever text and caption say."""

import json

import nbformat
import pytest
import yaml

from hi_book.press import book, places, provenance


@pytest.fixture
def noted(tmp_path):
    """Note, what differs, and the sources of all cells, of a notebook with one figure that ran with these values."""

    def run(injected=""):
        cell = nbformat.v4.new_code_cell
        cells = [cell('size = 8\nname = "a<b"', metadata={"tags": ["parameters"]})]
        if injected:
            cells.append(cell(injected, metadata={"tags": ["injected-parameters"]}))
        cells.append(cell("figure", metadata={"mystnb": {"figure": {"name": "fig-x", "caption": "size 8"}}}))
        results = tmp_path / "results" / "one"
        results.mkdir(parents=True)
        (results / "inputs.json").write_text(json.dumps({"traces/t.csv": 64 * "a"}))
        path = tmp_path / "one.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return *provenance.add(path, results), [each["source"] for each in json.loads(path.read_text())["cells"]]

    return run


def test_a_figure_names_data_parameters_and_command(noted):
    note, other, sources = noted()
    assert other == ""
    assert sources[2] == note
    assert "traces/t.csv <code title=" + 64 * "a" in note
    assert 'size = 8; name = "a&lt;b"' in note
    assert "hi run one</code>" in note
    assert "hi-changed" not in note
    assert sources[-1].startswith("The data behind this page")


def test_parameters_that_the_text_does_not_know_are_told(noted):
    note, other, _ = noted('size = 3\nname = "a<b"')
    assert other == "size = 3 instead of 8"
    assert '<p class="hi-changed">Not as text and caption say, but with size = 3 instead of 8.</p>' in note
    assert "hi run one -p size=3" in note


def test_the_same_values_given_again_change_nothing(noted):
    assert noted("size = 8")[1] == ""


@pytest.mark.parametrize("changed", [True, False])
def test_a_banner_says_so_on_every_page(changed, tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_toc.yml").write_text("root: book/intro\n")
    book._configure(tmp_path / "_config.yml", changed)
    original = yaml.safe_load((places.ROOT / "_config.yml").read_text())
    written = yaml.safe_load((tmp_path / "_config.yml").read_text())
    assert bool(written["sphinx"]["config"]["html_theme_options"].pop("announcement", None)) == changed
    assert written.pop("exclude_patterns") == []  # pages that are no pages of their own; here there are none
    assert written == original
