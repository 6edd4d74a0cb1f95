"""Secrets: what counts as one, and texts without them. All that is recorded, logged or reported goes through here.

A secret is known

- by its place: the password in a URI, a parameter such as ``token=`` in one, and the value of an option, a tag or a key
  whose name says so;
- by its value: that of an environment variable whose name says so, and whatever was found by its place in the config or
  the command of this process (`remember`); such a value is hidden wherever it turns up.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from expkit.secret_names import MASK, NO_SECRET, REFERENCE, hides, is_place, is_secret_name, is_secret_variable

SHORTEST = 6
"""Characters of a secret that is hidden wherever it turns up; a shorter one only where its place tells."""

_IN_A_URI = frozenset(["sig", "signature", "x-amz-signature", "x-goog-signature", "pwd", "pass", "key", "auth"])

_USERINFO = re.compile(r"(://[^:/\s\[]*:)(?!\d+/)([^@\s]{0,500}(?:@[^/\s@]{0,200})*)@")
"""``://user:password@``, also where the password holds "/" or "@"; ``://host:port/`` is none."""
_TOKEN_USER = re.compile(r"://(?=[^@/\s]*\d)[\w\-.%]{20,}@")
"""``://TOKEN@``: longer than any user's name."""
_QUERY = re.compile(r"([?&])([\w.%-]+)=((?:(?!,\w+://|[:;,.]+(?:\s|$))[^&\s'\"#\]})])+)")
"""``?token=value``; what ends a sentence or a clause of it is none of the value's."""
_ODBC = re.compile(r"((?:PWD|PASSWORD)%3D)(?:(?!%3B)[^&\s'\"])+", re.I)
_WORD = r"passw(?:or)?d|passphrase|pwd|secret|token|credential|api[_-]?key|[_-]key|authorization"
_NAMED = re.compile(
    rf"(?<![\w.-])([\w.-]{{0,80}}(?:{_WORD})[\w-]{{0,30}})"  # name; of any length, it would take forever
    r"""(["']?\]?)([ \t]*[:=][ \t]*)"""  # the end of its quotes; what stands between it and its value
    r"""((?:[bru]?["'])?)((?<=")[^"\n]*|(?<=')[^'\n]*|\$\{[^}\s]*\}|(?:(?!:\s)[^\s"',;&{}\[\])])+)""",  # quote, value
    re.I,
)
_STARTS = re.compile(r"(?:[{,]|^|\n)[ \t+-]*$")
"""What stands before a key of YAML."""
_ENDS = ("", "\n", "\r", ",", "}")
_remembered: dict[str, None] = {}


class _Seen:
    """The environment as it was last, and its secrets."""

    variables: dict[Any, Any] | None = None
    secrets: list[tuple[str, str]] = []  # noqa: RUF012 - there is one for the process


def masked(text: str, name: str = "", *, code: bool = False) -> str:
    """Return a text without the secrets in it: "http://me:***@host".

    Args:
        text: anything that is about to be recorded or shown.
        name: of the option, tag or key whose value the text is; one that says so makes all of it a secret.
        code: whether it is source code, in which ``token=token`` is no secret, but a literal after "password" is.
    """
    if name and hides(name, text):
        return MASK
    text = _by_value(text)
    text = _by_address(text)
    return _NAMED.sub(_in_code if code else _in_text, text)


def masked_values(tree: Any, name: str = "") -> Any:
    """Return plain values (mappings, lists, scalars) with all texts `masked`, each with its own name."""
    return _walk(tree, name, masked)


def secret_in(text: str, *, words: bool = True) -> str:
    """Say which secret a text holds, without it: "the value of DB_PASSWORD"; empty where it holds none.

    Args:
        text: such as the name of a folder.
        words: whether a secret that is a mere word or number counts as well.
    """
    for secret, whose in (*((v, f"the value of {n}") for n, v in _environment()), *((s, "") for s in _remembered)):
        if (words or not _is_plain(secret)) and _pattern((secret,)).search(text):
            return whose or "the value of an option whose name says that it is secret"
    return "a password or token" if _by_address(text) != text else ""


def recordable(tree: Any, name: str = "") -> Any:
    """Return plain values as a config that can be used again: a secret from the environment becomes a reference to it.

    ``{"password": "hunter2"}`` becomes ``{"password": "${oc.env:DB_PASSWORD}"}`` where this variable holds it, else
    ``{"password": "***"}``.
    """
    return _walk(tree, name, _recordable_text)


def recordable_override(override: str) -> str:
    """Return an override as typed, ``key=value``, as `recordable` does."""
    key, equals, value = override.partition("=")
    if not equals:
        return masked(override)
    if value[:1] in ("'", '"') and value[-1:] == value[:1] and is_secret_name(key):
        value = value[1:-1]
    return f"{key}={_recordable_text(value, key.lstrip('+~'))}"


def is_masked(text: Any) -> bool:
    """Whether a recorded text lacks a secret, so that it cannot be used as it is."""
    return isinstance(text, str) and (text == MASK or f":{MASK}@" in text or f"//{MASK}@" in text or f"={MASK}" in text)


def without_passwords(tree: Any) -> Any:
    """Return plain values without what is a secret by its place alone, which is the same on every machine."""
    return _walk(tree, "", lambda text, name: MASK if hides(name, text) else _by_address(text))


def from_environment(text: str | None) -> str | None:
    """Return a recorded text with what its references to the environment stand for; masked where that is not there."""
    return text and re.sub(r"\$\{oc\.env:(\w+)\}", lambda match: os.environ.get(match[1], MASK), text)


def with_secrets(tree: Any, live: Any) -> Any:
    """Return a recorded config with what it lacks from one that has its secrets."""
    if isinstance(tree, Mapping) and isinstance(live, Mapping):
        return {key: with_secrets(value, live.get(key)) for key, value in tree.items()}
    if isinstance(tree, list) and isinstance(live, (list, tuple)) and len(tree) == len(live):
        return [with_secrets(one, other) for one, other in zip(tree, live, strict=True)]
    lacks = is_masked(tree) or (isinstance(tree, str) and "${oc.env:" in tree)
    return live if lacks and live is not None else tree


def remember(tree: Any) -> None:
    """From now on hide the secrets of a config wherever they turn up in this process."""
    for found in _secrets_in(tree, ""):
        if len(found) >= SHORTEST and found.lower() not in NO_SECRET and not is_masked(found):
            _remembered[found] = None


def remember_overrides(overrides: Iterable[str]) -> None:
    """Do as `remember` for what was typed, which may be wrong and never become a config."""
    for one in overrides:
        key, _, value = one.partition("=")
        remember({key.lstrip("+~"): value.strip("'\"")})


def _walk(tree: Any, name: str, change: Any) -> Any:
    """Change the texts of a tree; what lies below a secret name has that name."""
    if isinstance(tree, Mapping):
        return {key: _walk(value, name if is_secret_name(name) else str(key), change) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_walk(value, name, change) for value in tree]
    if isinstance(tree, str):
        return change(tree, name)
    return MASK if hides(name, tree) else tree


def _recordable_text(text: str, name: str) -> str:
    for variable, value in _environment():
        whole = os.environ[variable]  # of which a URI's password is a part
        wanted = whole if whole in (text, value) else ""
        if wanted and wanted in text and (text == wanted or not _is_plain(wanted)) and "${" not in text:
            return masked(text.replace(wanted, f"${{oc.env:{variable}}}"), name)
    return masked(text, name)


def _by_address(text: str) -> str:
    """Hide what is a secret by its place in a URI."""
    if "://" in text:
        text = _USERINFO.sub(lambda m: m[0] if REFERENCE.match(m[2]) else f"{m[1]}{MASK}@", text)
        text = _TOKEN_USER.sub(f"://{MASK}@", text)
    if "=" in text or "%3D" in text:
        text = _QUERY.sub(_in_query, text)
        text = _ODBC.sub(rf"\1{MASK}", text)
    return text


def _in_query(match: re.Match[str]) -> str:
    name = match[2].lower()
    if REFERENCE.match(match[3]) or not (is_secret_name(name) or name in _IN_A_URI):
        return match[0]
    return f"{match[1]}{match[2]}={MASK}"


def _in_text(match: re.Match[str]) -> str:
    _, _, between, opening, _ = match.groups()
    text = match.string
    is_yaml = between in (":", ": ") and _STARTS.search(text, 0, match.start()) and text[match.end() :][:1] in _ENDS
    # Else it is "unexpected token: x", or an assignment in a line of code that a traceback shows.
    return _hidden(match) if opening or between == "=" or is_yaml else match[0]


def _in_code(match: re.Match[str]) -> str:
    literal = bool(match[4])
    return _hidden(match) if literal and _is_strong(match[1]) else match[0]


def _hidden(match: re.Match[str]) -> str:
    name, closing, between, opening, value = match.groups()
    return f"{name}{closing}{between}{opening}{MASK}" if hides(name.rpartition(".")[2], value) else match[0]


def _is_strong(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.lower() != "token" and is_secret_name(last)


def _by_value(text: str) -> str:
    known = tuple(dict.fromkeys((*_remembered, *(value for _, value in _environment()))))
    return _pattern(known).sub(MASK, text) if known else text


def _environment() -> list[tuple[str, str]]:
    """Return name and value of the variables that hold secrets, the longest values first."""
    now = getattr(os.environ, "_data", None)  # comparing it is fifty times as fast as reading it
    if now is None or _Seen.variables != now:
        _Seen.variables, _Seen.secrets = dict(now or {}), _read_environment()
    return _Seen.secrets


def _read_environment() -> list[tuple[str, str]]:
    found = []
    for name, value in os.environ.items():
        if is_secret_variable(name):
            if len(value) >= SHORTEST and value.lower() not in NO_SECRET and not is_place(value):
                found.append((name, value))
        elif "://" in value and "@" in value:
            found += [(name, one) for one in _passwords_of(value) if len(one) >= SHORTEST and one != value]
    return sorted(found, key=lambda pair: -len(pair[1]))


def _passwords_of(text: str) -> Iterator[str]:
    """Yield the passwords in the URIs of a text, as they are written there and as they are meant."""
    found = [match[2] for match in _USERINFO.finditer(text)]
    found += [m[3] for m in _QUERY.finditer(text) if "://" in text and _in_query(m) != m[0]]
    for one in found:
        if not REFERENCE.match(one) and one != MASK:
            yield one
            if unquote(one) != one:
                yield unquote(one)


def _secrets_in(tree: Any, name: str) -> Iterator[str]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _secrets_in(value, name if is_secret_name(name) else str(key))
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _secrets_in(value, name)
    elif hides(name, tree):
        yield str(tree)
    elif isinstance(tree, str) and "://" in tree:
        yield from _passwords_of(tree)


def _is_plain(value: str) -> bool:
    """Whether a secret is a word or a number as others are: it counts only where it stands alone."""
    return value.isalpha() or value.isdigit()


@lru_cache(maxsize=16)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds secrets as they are, and as URIs, JSON, YAML and shells write them."""
    whole: set[str] = set()
    parts: set[str] = set()
    for secret in secrets:
        (whole if _is_plain(secret) else parts).update(_written(secret))
    found = [re.escape(one) for one in sorted(parts, key=len, reverse=True)]
    found += [rf"(?<![\w.]){re.escape(one)}(?!\w)" for one in sorted(whole, key=len, reverse=True)]
    return re.compile("|".join(found))


def _written(secret: str) -> Iterator[str]:
    lines: Sequence[str] = [line.strip() for line in secret.splitlines() if len(line.strip()) >= 16]
    for one in (secret, *(lines if len(lines) > 1 else ())):
        yield one
        yield from (quote(one), quote(one, safe=""), quote_plus(one))
        yield from (json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1])
        yield from (one.replace("'", "''"), one.replace("'", "\\'"), repr(one)[1:-1], shlex.quote(one).strip("'"))
