import copy
import json

import pytest
import yaml

from hi_book.press import claims, results

ENTRY = {
    "id": "C1",
    "statement": "It holds.",
    "paper": "Section I",
    "notebook": "some",
    "verdict": "holds in part",
    "reason": "Because.",
    "checks": [{"value": "a", "says": "first", "most": 1.05}, {"value": "b", "says": "second", "above": 0}],
}


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Results of a notebook `some`, as a dict to write."""
    monkeypatch.setenv("HI_RESULTS", str(tmp_path))
    (tmp_path / "some").mkdir()

    def write(**values):
        (tmp_path / "some" / "values.json").write_text(json.dumps(values))

    return write


def load(tmp_path, entries):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(entries))
    return claims.load_claims(path)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [(1.05, 1, "holds"), (1.06, 1, "holds in part"), (1.0, 0, "holds in part"), (2, -1, "does not hold")],
)
def test_the_verdict_follows_from_the_checks(tmp_path, found, a, b, verdict):
    found(a=a, b=b)
    (outcome,) = claims.evaluate(load(tmp_path, [ENTRY]))
    assert outcome.verdict == verdict
    assert outcome.as_reviewed == (verdict == "holds in part")
    assert set(outcome.as_dict()) == {"id", "statement", "paper", "ours", "tolerance", "verdict", "proved"}
    assert verdict in claims.markdown_table([outcome])


def test_not_a_number_passes_no_check(tmp_path, found):
    found(a=float("nan"), b=float("nan"))
    (outcome,) = claims.evaluate(load(tmp_path, [ENTRY]))
    assert outcome.passed == [False, False]


def test_what_the_parameters_do_not_determine_has_no_verdict(tmp_path, found):
    found(a=None, b=1)
    (outcome,) = claims.evaluate(load(tmp_path, [ENTRY]))
    assert outcome.verdict == results.NOT_COMPUTED
    assert not outcome.as_reviewed
    assert outcome.ours == "first: not computed with these parameters; second: 1"
    assert "✓ second: 1 (needs above 0)" in claims.markdown_table([outcome])
    assert "first: not computed with these parameters<br>" in claims.markdown_table([outcome])


def test_missing_results_are_named(tmp_path, found):
    with pytest.raises(ValueError, match="results of some are missing"):
        claims.evaluate(load(tmp_path, [ENTRY]))
    found(a=1, bb=1)
    with pytest.raises(ValueError, match="did you mean bb"):
        claims.evaluate(load(tmp_path, [ENTRY]))


def without(key):
    return {name: value for name, value in ENTRY.items() if name != key}


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("text", "must hold a list"),
        ([{**ENTRY, "id": 1}], "id must be text"),
        ([{**ENTRY, "checks": [{"value": "a", "says": "x", "most": float("inf")}]}], "must be a number"),
        ([{**ENTRY, "checks": [{"value": ["a"], "says": "x", "most": 1}]}], "must be text"),
        ([3], "entry 1 must have exactly the fields"),
        ([without("reason")], "entry 1 must have exactly"),
        ([{**ENTRY, "more": 1}], "entry 1 must have exactly"),
        ([{**ENTRY, "verdict": "hold"}], "did you mean holds"),
        ([{**ENTRY, "checks": []}], "at least one check"),
        ([{**ENTRY, "checks": [{"value": "a", "says": "x"}]}], "one of most, least"),
        ([{**ENTRY, "checks": [{"value": "a", "says": "x", "most": 1, "least": 0}]}], "one of most, least"),
        ([{**ENTRY, "checks": [{"value": "a", "says": "x", "most": "1"}]}], "must be a number"),
        ([ENTRY, copy.deepcopy(ENTRY)], "lists C1 more than once"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, entries, says):
    with pytest.raises(ValueError, match=says):
        load(tmp_path, entries)


def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text("a: [")
    with pytest.raises(ValueError, match="cannot be read"):
        claims.load_claims(path)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text("- id: C1\n  verdict: holds\n  verdict: does not hold\n")
    with pytest.raises(ValueError, match="the key 'verdict' stands twice"):
        claims.load_claims(path)


def test_a_notebook_shows_its_own_claims():
    shown = claims.show("calibration").data
    assert [line.split(" ")[1] for line in shown.splitlines()[2:]] == [
        f"**{claim.id}**" for claim in claims.load_claims() if claim.notebook == "calibration"
    ]


def test_every_claim_in_this_build_is_as_reviewed():
    outcomes = claims.evaluate(claims.load_claims())
    paper = {f"C{n}" for n in range(1, 21)} | {"C12r", "C14r"}
    assert {outcome.claim.id for outcome in outcomes} == paper | {f"T{n}" for n in range(1, 29)} | {"C1m"}
    theirs, ours = claims.by_author([outcome.claim for outcome in outcomes])
    assert {claim.id for claim in theirs} == paper
    assert {claim.paper for claim in ours if claim.id.startswith("T")} <= {
        "not in the paper",
        "announced, not given",
        "named as future work",
    }
    assert all("“" in claim.statement for claim in theirs)  # the paper's own words
    assert [outcome.claim.id for outcome in outcomes if not outcome.as_reviewed] == []


def test_results_are_written_whole_and_told(tmp_path, monkeypatch, capsys):
    import numpy as np
    import pandas as pd

    monkeypatch.setenv("HI_RESULTS", str(tmp_path))
    values = {"x": np.float64(0.1), "n": np.int64(3), "unknown": np.nan}
    numbers = results.publish("mine", values, table=pd.DataFrame({"a": [1]}))
    assert results.read_values("mine") == {"x": 0.1, "n": 3, "unknown": None}
    assert numbers.tell("{{n}} times {{x:.2f}}").data == "3 times 0.10"
    assert numbers.tell("{{unknown:.1f}} ms").data == "not computed with these parameters ms"
    with pytest.raises(ValueError, match="value must be one of x, n, unknown; got 'm'"):
        numbers.tell("{{m}}")
    assert (tmp_path / "mine" / "table.csv").read_text() == "a\n1\n"
    assert results.read_values("none") is None
    capsys.readouterr()


def test_tolerances_in_words():
    def said(bound, limit):
        return claims.Check("a", "first", bound, limit).in_words

    assert said("most", 1.05) == "at most 1.05"
    assert said("above", 1e-9) == "above zero, but for rounding"
    assert said("most", 1e-9) == "zero, but for rounding"
    assert said("least", 0) == "at least 0"
    assert said("equals", True) == "yes"


def test_a_claim_of_which_numbers_are_only_shown_is_inconclusive(tmp_path, found):
    found(a=1)
    entry = {**ENTRY, "checks": [{"value": "a", "says": "first", "shown": True}], "verdict": "inconclusive"}
    (outcome,) = claims.evaluate(load(tmp_path, [entry]))
    assert (outcome.verdict, outcome.as_reviewed) == ("inconclusive", True)
    assert claims.by_verdict([outcome], "pages") == "* **Inconclusive** (1): [C1](pages/some)"


def test_what_would_change_a_verdict_is_said(tmp_path, found):
    found(a=1, b=1)
    (outcome,) = claims.evaluate(load(tmp_path, [{**ENTRY, "changes": "Another rate."}]))
    assert "What would change it: another rate." in claims.overview([outcome], "pages")
    assert all(claim.changes for claim in claims.by_author(claims.load_claims())[0])


def test_the_first_page_counts_the_verdicts(tmp_path, found):
    found(a=1.06, b=1)
    entries = [{**copy.deepcopy(ENTRY), "id": f"C{number}"} for number in range(3)]
    said = claims.counted(claims.evaluate(load(tmp_path, entries)))
    assert said.startswith("Of 3 claims, judged as the paper words them, **0 hold**, 3 hold in part, **0 do not hold**")


def test_a_proof_is_named_and_what_cannot_be_tested_has_no_marks(tmp_path, found):
    found(a=2, b=1)
    proved = {**ENTRY, "proved": True, "checks": [{"value": "b", "says": "second", "above": 0}], "verdict": "holds"}
    unknown = {**copy.deepcopy(ENTRY), "id": "C2", "verdict": "not testable here"}
    outcomes = claims.evaluate(load(tmp_path, [proved, unknown]))
    assert [outcome.verdict for outcome in outcomes] == ["holds", "not testable here"]
    first, second = claims.markdown_table(outcomes).splitlines()[2:]
    assert "**holds, proved**" in first
    assert "first: 2" in second
    assert not {"✓", "✗"} & set(second)
    assert "(pages/some)" in claims.overview(outcomes, "pages")
    with pytest.raises(ValueError, match="proved must be true or false"):
        load(tmp_path, [{**ENTRY, "proved": "yes"}])
