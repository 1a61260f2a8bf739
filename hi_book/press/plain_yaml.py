"""YAML of plain values: what JSON knows, and nothing that surprises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

if yaml.__with_libyaml__:  # ten times as fast
    from yaml import CSafeLoader as _Loader
else:
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

from hi_lib.checks import one_line, text_file

_DEEPEST = 100


def yaml_file(path: Path) -> Any:
    """Read a YAML file of plain values."""
    return yaml_value(str(path), text_file(path))


def yaml_value(where: str, text: str) -> Any:
    """Parse YAML of plain values (what JSON knows); anything else is refused in one line.

    Numbers and words are read as JSON and Python read them: 1e-1 is a number, 010 is ten, yes and 1_000 are texts.
    """
    try:
        _refuse_what_surprises(text)
        value = yaml.load(text, _PlainValues)  # noqa: S506 (a safe loader, made stricter)
        json.dumps(value)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{where} cannot be read as YAML of plain values: {one_line(str(error))}") from None
    return value


def _refuse_what_surprises(text: str) -> None:
    """Aliases, which can stand for gigabytes, and depths at which libyaml would bring the whole process down."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"an alias must be written out{event.start_mark}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it must not be nested deeper than {_DEEPEST} levels{event.start_mark}")


class _PlainValues(_Loader):
    """YAML's safe loader without what surprises: old spellings of numbers, aliases, the last of two equal keys."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (filled below, as its parent's is)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for number, key in enumerate(keys) if key in keys[:number]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?\d+", list("-+0123456789")),
    ("float", r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
):
    _PlainValues.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_PlainValues.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_PlainValues.add_constructor(
    "tag:yaml.org,2002:float", lambda _, node: float(re.sub(r"\.(?=inf|nan)", "", node.value.lower()))
)
