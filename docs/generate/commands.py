"""The reference of the command line, from the parsers of its verbs."""

from __future__ import annotations

import argparse
import contextlib
import re
import textwrap
from collections.abc import Iterator
from unittest import mock

from expkit import cli
from generate.writing import Pages, block, code, described, plain, table, title

_EXAMPLE = re.compile(r"(.*?)\b(?:[Ee]xamples?): (python -m expkit .*)")


def write(pages: Pages) -> None:
    """Write the page `commands`.

    Raises:
        ValueError: a verb answers `-h` by other means than argparse.
    """
    text = title("Commands") + block(cli.help_text(), "text")
    for verb in cli.VERBS:
        text += f".. _verb-{verb}:\n\n" + title(verb, 2) + "".join(_about(parser_of(verb)))
    pages.write("commands.rst", text)


def parser_of(verb: str) -> argparse.ArgumentParser:
    """Return the parser with which a verb answers `-h`."""
    found: list[argparse.ArgumentParser] = []
    catch = mock.patch.object(argparse.ArgumentParser, "print_help", lambda parser, file=None: found.append(parser))
    with catch, contextlib.suppress(SystemExit):
        cli.main([verb, "-h"])
    if not found:
        raise ValueError(f"`{verb} -h` does not come from argparse, so that the command reference cannot show it")
    return found[0]


def _about(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from _paragraphs(parser.description)
    formatter = parser._get_formatter()  # argparse has no public way to be asked for the usage on one line
    formatter._width = 78
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    yield block(formatter.format_help(), "text")
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    subparsers = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    shown = [action for action in actions if action not in subparsers and not isinstance(action, argparse._HelpAction)]
    if shown:
        yield table(["argument", "what it is"], [[_name(action), _help(parser, action)] for action in shown], [35, 65])
    for action in subparsers:
        for name, inner in action.choices.items():
            yield title(f"{parser.prog.removeprefix('python -m expkit ')} {name}", 3)
            yield from _about(inner)
    yield from _paragraphs(parser.epilog)


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        metavar = action.metavar or action.dest
        return code(metavar if isinstance(metavar, str) else " ".join(metavar))
    value = "" if action.nargs == 0 else _value(action)
    return ", ".join(code(f"{option}{value}") for option in action.option_strings)


def _value(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return f" {{{','.join(map(str, action.choices))}}}"
    metavar = action.metavar or action.dest.upper()
    return f" {metavar if isinstance(metavar, str) else ' '.join(metavar)}"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if not action.help:
        return ""
    words = {key: value for key, value in vars(action).items() if value is not argparse.SUPPRESS}
    return plain(action.help % (words | {"prog": parser.prog}))


def _paragraphs(text: str | None) -> Iterator[str]:
    """Turn a description or an epilog into paragraphs, and its examples into commands."""
    for paragraph in textwrap.dedent(text or "").strip("\n").split("\n\n"):
        example = _EXAMPLE.fullmatch(" ".join(paragraph.split()))
        if example and "\n  " not in paragraph:
            yield plain(example[1]) + "\n\n" + block(example[2].replace("; ", "\n"))
        else:
            yield described(paragraph)
