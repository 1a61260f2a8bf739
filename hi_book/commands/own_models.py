"""How commands take a model of the user's own: the same options for what it wants of pictures, and what it says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hi_book.commands.line import Command, some_path, together
from hi_book.makers.networks import ModelOptions
from hi_lib import checks

_PANEL = "A model of your own (--onnx), where its file does not say it"


def network_options(without: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Give a command the options of `ModelOptions`, but for some; it takes them together, as `asked`."""
    options = [_parameter(name, option) for name, option in _OPTIONS.items() if name not in without]
    return together(
        "asked", options, lambda **given: ModelOptions(**{name: _read(name, value) for name, value in given.items()})
    )


def refuse_without_onnx(asked: ModelOptions, **others: object) -> None:
    """Options that describe a model of the user's own are refused where there is none."""
    given = [name for name, value in (vars(asked) | others).items() if value not in (None, False)]
    if given:
        raise ValueError(f"--{given[0]} describes a model of your own: it must be left out where there is no --onnx")


def numbers(where: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between them; each may be a fraction.

    Examples
    --------
    >>> numbers("--mean", "0.5, 1/4")
    (0.5, 0.25)
    """
    return tuple(_number(where, part) for part in text.split(","))


def _number(where: str, text: str) -> float:
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{where} must be a number or a fraction, got {checks.shown(text)}") from None


def _read(name: str, value: Any) -> Any:
    """What the command line gives as text, as `ModelOptions` holds it."""
    if name == "scale" and value is not None:
        return _number("--scale", value)
    if name in ("mean", "std") and value is not None:
        return numbers(f"--{name}", value)
    return value


def _option(says: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=says, rich_help_panel=_PANEL, **more)


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "size": (int | None, _option("Side of the pictures, if the model leaves it open.", "--size", "--side")),
    "layout": (str | None, _option("nchw: channels first; nhwc: channels last.", "--layout")),
    "grey": (bool, _option("Take the colours from the pictures.", "--grey")),
    "scale": (str | None, _option("Pixels from 0 to 255 are multiplied by it: 1/255, 1.", "--scale")),
    "mean": (str | None, _option("Then it is subtracted: one number, or one a channel: 0.5,0.5,0.5.", "--mean")),
    "std": (str | None, _option("Then it divides: one number, or one a channel.", "--std")),
    "outputs": (str | None, _option("What the model says: probabilities or logits.", "--outputs")),
    "classes": (
        Path | None,
        _option(
            "A file with a class name a line, or with folder and class number.",
            "--classes",
            parser=some_path,
            metavar="PATH",
        ),
    ),
}


def _parameter(name: str, option: tuple[Any, Any]) -> inspect.Parameter:
    kind, declared = option
    default = False if kind is bool else None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared]
    )
