"""The paper's claims: what it says, what we find, within which tolerance, and the verdict that follows.

book/claims.yml lists them. Each names one notebook and checks on that notebook's values; the verdict is computed from
the checks, and compared with the one a person reviewed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hi_book.figures.symbols import in_html
from hi_book.press import plain_yaml, results
from hi_lib import checks
from hi_lib.files import ROOT

CLAIMS = ROOT / "book" / "claims.yml"
UNTESTED, INCONCLUSIVE = "not testable here", "inconclusive"
VERDICTS = ("holds", "holds in part", "does not hold", UNTESTED, INCONCLUSIVE)
BOUNDS = ("most", "least", "above", "below", "equals", "shown")
SHOWN = "shown"  # no bound: the number of a case that the claim does not name, and for which nothing is judged
_SIGNS = {"most": "≤", "least": "≥", "above": ">", "below": "<", "equals": "="}
_WORDS = {"most": "at most", "least": "at least", "above": "above", "below": "below", "equals": "exactly"}
_ROUNDING = 1e-6  # a limit so small is zero, but for what rounding leaves


@dataclass(frozen=True)
class Check:
    """One measured value against one bound, e.g. value `cost_ratio` at `most` 1.05, or `shown` beside the others."""

    value: str
    says: str
    bound: str
    limit: float | bool

    def passes(self, found: results.Value) -> bool:
        """Whether the found value respects the bound; one that is not computed, and NaN, never do."""
        if found is None:
            return False
        if self.bound == SHOWN:
            return True
        if isinstance(self.limit, bool) or self.bound == "equals":
            return found == self.limit
        number = float(found)
        return {
            "most": number <= self.limit,
            "least": number >= self.limit,
            "above": number > self.limit,
            "below": number < self.limit,
        }[self.bound]

    @property
    def tolerance(self) -> str:
        """The bound in print, e.g. "≤ 1.05"."""
        if self.bound == SHOWN:
            return "–"
        if isinstance(self.limit, bool):
            return "yes" if self.limit else "no"
        return f"{_SIGNS[self.bound]} {self.limit:g}"

    @property
    def in_words(self) -> str:
        """The bound as one would say it."""
        if isinstance(self.limit, bool):
            return self.tolerance
        if 0 < abs(self.limit) <= _ROUNDING:
            return f"{'above ' if self.bound in ('above', 'least') else ''}zero, but for rounding"
        return f"{_WORDS[self.bound]} {self.limit:g}"


@dataclass(frozen=True)
class Claim:
    """One claim as listed in claims.yml."""

    id: str
    statement: str
    paper: str
    notebook: str
    verdict: str
    reason: str
    checks: list[Check]
    proved: bool = False
    """Whether its page has a proof; checks are evidence beside it then."""
    changes: str = ""
    """What would change the verdict on a claim of the paper."""


@dataclass(frozen=True)
class Outcome:
    """A claim with what this build found."""

    claim: Claim
    values: dict[str, results.Value] = field(repr=False)

    @property
    def passed(self) -> list[bool]:
        """Whether each check that judges passes."""
        return [check.passes(self.values[check.value]) for check in self.claim.checks if check.bound != SHOWN]

    @property
    def verdict(self) -> str:
        """All checks pass: holds; some: holds in part; none: does not hold. Or not testable, as a person judged.

        A claim beside whose checks the number of another case is shown holds in part at most, and one of which numbers
        are only shown is inconclusive. Where the parameters do not determine a value that is asked for, there is no
        verdict.
        """
        if self.claim.verdict == UNTESTED:
            return self.claim.verdict
        if any(self.values[check.value] is None for check in self.claim.checks):
            return results.NOT_COMPUTED
        if not self.passed:
            return INCONCLUSIVE
        if all(self.passed):
            return "holds" if len(self.passed) == len(self.claim.checks) else "holds in part"
        return "holds in part" if any(self.passed) else "does not hold"

    @property
    def ours(self) -> str:
        """What was found, check by check."""
        return "; ".join(
            f"{check.says}: {_print(self.values[check.value])}{' (fails)' if self._fails(check) else ''}"
            for check in self.claim.checks
        )

    def _fails(self, check: Check) -> bool:
        found = self.values[check.value]
        return found is not None and not check.passes(found)

    @property
    def as_reviewed(self) -> bool:
        """Whether the computed verdict is the one a person reviewed."""
        return self.verdict == self.claim.verdict

    def as_dict(self) -> dict[str, str | bool]:
        """The row that `hi check --json` prints."""
        return {
            "id": self.claim.id,
            "statement": self.claim.statement,
            "paper": self.claim.paper,
            "ours": self.ours,
            "tolerance": "; ".join(check.tolerance for check in self.claim.checks),
            "verdict": self.verdict,
            "proved": self.claim.proved,
        }


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """Read claims.yml.

    Raises
    ------
    ValueError
        The file is missing or no list of claims, or a claim lacks a field, names an unknown one, or an unknown verdict.
    """
    entries = plain_yaml.yaml_file(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path} must hold a list of claims")
    claims = [_claim(f"{path.name}, entry {number}", entry) for number, entry in enumerate(entries, 1)]
    repeated = {claim.id for claim in claims if sum(claim.id == other.id for other in claims) > 1}
    if repeated:
        raise ValueError(f"{path.name} lists {', '.join(sorted(repeated))} more than once")
    return claims


def by_author(claims: list[Claim]) -> tuple[list[Claim], list[Claim]]:
    """The paper's claims as it words them, and ours: theorems, measurements, and the paper's claims mended."""
    ours = [claim for claim in claims if claim.id.startswith("T") or claim.id.endswith("m")]
    return [claim for claim in claims if claim not in ours], ours


def evaluate(claims: list[Claim], folder: Path | None = None) -> list[Outcome]:
    """Compare claims with what is in results/, or in another folder of results.

    Raises
    ------
    ValueError
        A notebook has not run, or did not publish a value that a check asks for.
    """
    outcomes = []
    for claim in claims:
        values = results.numbers(claim.notebook, folder)
        for check in claim.checks:
            checks.choice(f"claim {claim.id}: value", check.value, values)
        outcomes.append(Outcome(claim, values))
    return outcomes


def show(notebook: str, whose: str = "all") -> Any:
    """Table of the claims that a notebook supports, "all", the "paper"'s or "ours", from the values just published."""
    from IPython.display import Markdown

    known = [claim for claim in load_claims() if claim.notebook == notebook]
    paper, ours = by_author(known)
    chosen = {"all": known, "paper": paper, "ours": ours}[checks.choice("whose", whose, ("all", "paper", "ours"))]
    heads = ("The paper says", "Here") if whose == "paper" else ("Claim", "We find")
    return Markdown(markdown_table(evaluate(chosen), heads))


def overview(outcomes: list[Outcome], pages: str) -> str:
    """Claims and verdicts as a Markdown table; each links to its evidence in `pages`, the notebooks' folder."""
    lines = ["| | Claim | Where | Verdict |", "|---|---|---|---|"]
    for outcome in outcomes:
        claim = outcome.claim
        name = f"[{claim.id}]({pages}/{claim.notebook})"
        said = f"{_escaped(claim.statement)}<br><em>{_escaped(claim.reason)}</em>"
        if claim.changes:
            said += f"<br>What would change it: {_escaped(_begun_small(claim.changes))}"
        where = claim.paper.replace("not in the paper", "–")
        lines.append(f"| **{name}** | {said} | {where} | **{_verdict(outcome)}** |")
    return "\n".join(lines)


def _begun_small(text: str) -> str:
    """A sentence as it stands after a colon."""
    return (
        text
        if (text[:2].isalpha() and text[:2].isupper()) or text.startswith(("S-ML", "L-ML"))
        else text[0].lower() + text[1:]
    )


def by_verdict(outcomes: list[Outcome], pages: str) -> str:
    """The claims of each verdict, each linked to its evidence: a Markdown list."""
    lines = []
    for verdict in (*VERDICTS, results.NOT_COMPUTED):
        some = [outcome.claim for outcome in outcomes if outcome.verdict == verdict]
        if some:
            names = ", ".join(f"[{claim.id}]({pages}/{claim.notebook})" for claim in some)
            lines.append(f"* **{verdict[0].upper()}{verdict[1:]}** ({len(some)}): {names}")
    return "\n".join(lines)


def counted(outcomes: list[Outcome]) -> str:
    """One sentence of Markdown: how many of the paper's claims have each verdict."""
    found = [sum(outcome.verdict == verdict for outcome in outcomes) for verdict in VERDICTS]
    holds, partly, fails, unknown, _ = found
    return (
        f"Of {len(outcomes)} claims, judged as the paper words them, **{holds} hold**, {partly} hold in part, "
        f"**{fails} do not hold**, and {unknown} cannot be tested here ({{doc}}`claims`).\n"
    )


def markdown_table(outcomes: list[Outcome], heads: tuple[str, str] = ("Claim", "We find")) -> str:
    """Claims with all that was found, as a Markdown table; `heads` are those of what is claimed, and found."""
    lines = [f"| | {heads[0]} | Verdict | {heads[1]} |", "|---|---|---|---|"]
    for outcome in outcomes:
        claim = outcome.claim
        found = "<br>".join(_found(outcome))
        lines.append(f"| **{claim.id}** | {_escaped(claim.statement)} | **{_verdict(outcome)}** | {found} |")
    return "\n".join(lines)


def _verdict(outcome: Outcome) -> str:
    return f"{outcome.verdict}, proved" if outcome.claim.proved else outcome.verdict


def _escaped(text: str) -> str:
    """Text in which Markdown finds nothing to set, but for indices: M* is a batch size, not the start of italics."""
    return re.sub(r"([*_|`])", r"\\\1", in_html(text))


def _found(outcome: Outcome) -> list[str]:
    lines, tested = [], outcome.verdict != UNTESTED
    for check in outcome.claim.checks:
        value = outcome.values[check.value]
        found = f"{_escaped(check.says)}: {_print(value)}"
        judged, passed = tested and value is not None and check.bound != SHOWN, check.passes(value)
        lines.append(f"{'✓' if passed else '✗'} {found} (needs {check.in_words})" if judged else found)
    return lines


def _print(value: results.Value) -> str:
    if value is None:
        return results.NOT_COMPUTED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int) or not value:
        return f"{value:g}" if isinstance(value, float) else str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def _claim(where: str, entry: Any) -> Claim:
    names = {"id", "statement", "paper", "notebook", "verdict", "reason", "checks"}
    if not isinstance(entry, dict) or set(entry) - {"proved", "changes"} != names:
        fields = ", ".join(sorted(names))
        raise ValueError(f"{where} must have exactly the fields {fields}, and may have proved and changes")
    proved = entry.get("proved", False)
    if not isinstance(proved, bool):
        raise ValueError(f"{where}: proved must be true or false, got {checks.shown(proved)}")
    for name in [*names - {"checks"}, *({"changes"} & set(entry))]:
        if not isinstance(entry[name], str) or not entry[name]:
            raise ValueError(f"{where}: {name} must be text, got {checks.shown(entry[name])}")
    checks.choice(f"{where}: verdict", entry["verdict"], VERDICTS)
    if not isinstance(entry["checks"], list) or not entry["checks"]:
        raise ValueError(f"{where}: checks must be a list of at least one check")
    parsed = [_check(f"{where}: check {number}", check) for number, check in enumerate(entry["checks"], 1)]
    return Claim(**{**entry, "checks": parsed})


def _check(where: str, entry: Any) -> Check:
    bounds = [name for name in BOUNDS if isinstance(entry, dict) and name in entry]
    if len(bounds) != 1 or set(entry) != {"value", "says", bounds[0]}:
        raise ValueError(f"{where} must have the fields value, says and one of {', '.join(BOUNDS)}")
    limit = entry[bounds[0]]
    if not isinstance(limit, bool | int | float) or not abs(limit) < 1e300:
        raise ValueError(f"{where}: {bounds[0]} must be a number, true or false, got {checks.shown(limit)}")
    if not isinstance(entry["value"], str) or not isinstance(entry["says"], str):
        raise ValueError(f"{where}: value and says must be text")
    return Check(entry["value"], entry["says"], bounds[0], limit)
