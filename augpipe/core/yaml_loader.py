"""Read YAML safely: no objects, no duplicate keys, no texts that expand to huge values; messages of one line."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from augpipe.core.errors import UserError

MOST_VALUES: Final = 100_000  # of a document


class _Loader(yaml.SafeLoader):
    """Safe YAML loader that rejects duplicate keys, which YAML silently overwrites, and short texts that expand to huge values.

    yes, no, on and off are text, as in YAML 1.2: they are names of classes. Options that are true or false accept them.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int) and key in seen:
                raise UserError(f"duplicate key {key!r} (line {key_node.start_mark.line + 1})")
            seen.add(key if isinstance(key, str | int) else id(key))
        return super().construct_mapping(node, deep)

    def get_single_data(self) -> Any:
        """The document's value; UserError if aliases make more than MOST_VALUES of it."""
        node = self.get_single_node()
        if node is None:
            return None
        if (n := _expanded(node, {})) > MOST_VALUES:
            raise UserError(
                f"it has {n:,} values after its aliases, at most {MOST_VALUES:,} are read"
            )
        return self.construct_document(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)


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
        raise UserError(f"{where} is not YAML: {' '.join(str(error).split())}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
