"""Read YAML and JSON safely: no objects, no duplicate keys, no texts that expand to huge values;
messages of one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from augpipe.core.errors import UserError

MOST_VALUES: Final = 100_000  # of a document
SHOWN: Final = 40  # characters of a value in a message


class _Loader(yaml.SafeLoader):
    """Safe YAML loader that rejects duplicate keys, which YAML silently overwrites, and short texts that expand to huge
    values.

    yes, no, on and off are text, as in YAML 1.2: they are names of classes. Options that are true or false accept them.
    So are 1_0, 01, 0x1F, 1:30, dates and `=`. Keys that are one word are text as written: `{1.0: 5, null: 3}` names two
    classes.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if isinstance(key_node, yaml.ScalarNode):
                key_node.tag = "tag:yaml.org,2002:str"
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int) and key in seen:
                raise UserError(f"duplicate key {key!r} (line {key_node.start_mark.line + 1})")
            seen.add(key if isinstance(key, str | int) else id(key))
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; UserError for one that is not of its tag, such as `!!int abc`."""
        try:
            return super().construct_object(node, deep)
        except UserError:
            raise
        # PyYAML's constructors trust the text: a month 13, a word that is no bool, more digits than Python reads.
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
            text, tag = str(node.value), str(node.tag).removeprefix("tag:yaml.org,2002:")
            shown = repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}... ({len(text):,} characters)"
            raise UserError(f"cannot read {shown} as {tag} (line {node.start_mark.line + 1})") from None

    def get_single_data(self) -> Any:
        """The document's value; UserError if aliases make more than MOST_VALUES of it."""
        node = self.get_single_node()
        if node is None:
            return None
        if (n := _expanded(node, {})) > MOST_VALUES:
            raise UserError(f"it has {n:,} values after its aliases, at most {MOST_VALUES:,} are read")
        return self.construct_document(node)


# Tag → plain scalars that have it, and their first characters; YAML 1.1 has more, which are names of classes here.
_SCALARS: Final = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
_REPLACED: Final = {f"tag:yaml.org,2002:{name}" for name in (*_SCALARS, "timestamp", "value")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})$"), list(_first))


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values of a node, each alias counted as often as it is used."""
    if id(node) not in known:
        known[id(node)] = 1  # also what a node counts that contains itself
        inner = (
            [part for pair in node.value for part in pair]
            if isinstance(node, yaml.MappingNode)
            else (node.value if isinstance(node, yaml.SequenceNode) else [])
        )
        known[id(node)] = 1 + sum(_expanded(part, known) for part in inner)
    return known[id(node)]


def read_yaml(text: str, where: str) -> Any:
    """YAML text → Python values; UserError names the position of a mistake."""
    try:
        return yaml.load(text.removeprefix("\ufeff"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except RecursionError:
        raise UserError(f"{where} is nested too deeply") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not YAML: {_problem(error)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong with the text, and in which line, without the parser's terms where possible."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return problem
    if "'\\t'" in problem:
        problem = "a tab, where YAML needs spaces"
    problem = problem.replace("'<stream end>'", "the end").replace("'<block end>'", "less indentation")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def read_json(text: str, where: str) -> Any:
    """JSON text → Python values; UserError names the position of a mistake."""
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_unique)
    except RecursionError:
        raise UserError(f"{where} is nested too deeply") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except ValueError as error:  # also a number of more digits than Python reads
        raise UserError(f"{where} is not JSON: {error}") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The mapping of these pairs; UserError for a key that is there twice."""
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise UserError(f"duplicate key {key!r}")
        mapping[key] = value
    return mapping


def as_yaml(text: str) -> str:
    """Text as YAML inside of a list or mapping; a whole number stays plain, as options of text take it."""
    if re.fullmatch(r"0|[1-9]\d{0,17}", text, re.ASCII):
        return text
    plain = re.fullmatch(r"[^\W\d][\w -]*\w|[^\W\d]", text)
    same = plain and yaml.load(text, Loader=_Loader) == text  # noqa: S506 (a SafeLoader)
    return text if same else json.dumps(text, ensure_ascii=False)
