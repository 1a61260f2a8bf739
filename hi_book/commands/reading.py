"""How every command takes a log of the user's own: the same options for its columns, one reader, the same notes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from hi_book.commands.line import complain, together
from hi_lib import checks, traces
from hi_lib.logs import reading
from hi_lib.logs.columns import Columns

_SAYS = {
    "confidence": "How sure the S-ML was, from 0 to 1.",
    "second_confidence": "The second largest softmax value, for --score regression.",
    "correct": "Whether it was right: 1/0 or true/false.",
    "label": "The true class; with --predicted or --probabilities, instead of --correct.",
    "predicted": "The class that the S-ML said.",
    "lml_correct": "Whether the L-ML was right; blank where that is not known.",
    "lml_predicted": "The class that the L-ML said; blank where it was not asked.",
    "probabilities": "Columns with the probability of each class: 'prob_*'.",
    "logits": "Columns with the logit of each class: 'z*'.",
    "offload_probability": "With which probability each sample was offloaded.",
    "time": "When a sample arrived: a date or a number; '' leaves it out.",
    "time_unit": "Unit of times that are numbers: ns, us, ms or s.",
    "time_format": "How times that are text are written: '%d.%m.%Y %H:%M:%S'.",
    "score": "What to take of the probabilities: max, margin, entropy or regression.",
    "correct_above": "Answers that are graded are right above this grade.",
    "rescale": "Map any score to 0 … 0.999, turned round if accuracy falls as it rises.",
}
_PANEL = "Columns of a log, where their names do not say it"


def _option(name: str, says: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    kind: Any = {"rescale": bool, "correct_above": float | None}.get(name, str | None)
    annotation = Annotated[kind, typer.Option(flag, help=says, rich_help_panel=_PANEL)]
    default = False if name == "rescale" else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


# Gives a command the options of `Columns`; it takes them together, as `columns`.
log_options = together("columns", [_option(name, says) for name, says in _SAYS.items()], Columns)


def trace_or_log(text: str, columns: Columns) -> reading.Log:
    """A trace by its name, or a log by its place."""
    if text in traces.list_traces() or not _is_place(text):
        return reading.Log(traces.load_trace(text))
    return reading.read(text, columns)


def _is_place(text: str) -> bool:
    """Whether this is rather a file than a name."""
    return text == "-" or Path(text).suffix != "" or "/" in text or Path(text).exists()


def tell(notes: Iterable[str]) -> None:
    """What was guessed of a log, on standard error."""
    for note in notes:
        complain(f"note: {checks.printable(note)}")
