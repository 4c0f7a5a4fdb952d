"""The page of the `augpipe` command, from its cyclopts app."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from cyclopts import App
from cyclopts.argument import Argument

from augpipe_reference.markdown import docstring, document, prose, section, summary, table
from flows import cli


def page() -> str:
    """Every command and option."""
    sections = [_section(name, app) for name, app in _commands(cli.app, "augpipe")]
    status = prose(docstring(cli).partition("\n\n")[2])
    return document("The augpipe command", prose(cli.app.help), status, *sections)


def _commands(app: App, prefix: str) -> Iterator[tuple[str, App]]:
    """Every command that runs something, subcommands after their group."""
    for name in app:
        if name.startswith("-"):
            continue
        sub = app[name]
        if sub.default_command is not None:
            yield f"{prefix} {name}", sub
        yield from _commands(sub, f"{prefix} {name}")


def _section(name: str, app: App) -> str:
    arguments = [a for a in app.assemble_argument_collection(parse_docstring=True) if a.show]
    positional = [a.name for a in arguments if a.is_positional_only()]
    required = [
        f"{a.name} {a.name.lstrip('-').upper()}" for a in arguments if not a.is_positional_only() and a.required
    ]
    optional = len(positional) + len(required) < len(arguments)
    usage = " ".join([name, *positional, *required, *(["[OPTIONS]"] if optional else [])])
    text = prose(summary(docstring(app.default_command)))
    rows = [(f"`{_spelling(a)}`", prose(a.parameter.help or ""), _default(a)) for a in arguments]
    listed = table(["argument", "meaning", "default"], rows) if rows else ""
    label = name.replace(" ", "-")
    return section(f"`{name}`", text, f"```\n{usage}\n```", listed, label=label)


def _spelling(argument: Argument) -> str:
    if argument.is_positional_only() or argument.is_flag():
        return argument.name
    return f"{argument.name} {argument.name.lstrip('-').upper().replace('-', '_')}"


def _default(argument: Argument) -> str:
    value = argument.field_info.default
    if argument.required or value is inspect.Parameter.empty:
        return "required"
    return "" if value is None or value is False or value == () else f"`{value}`"
