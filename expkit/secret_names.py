"""Which options, tags and variables hold secrets, as their names say."""

from __future__ import annotations

import itertools
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

MASK = "***"
"""Stands for a secret."""
REFERENCE = re.compile(r"\$\{[^}]*\}$")
"""``${oc.env:NAME}``: says where a secret is, and is none."""
NO_SECRET = frozenset(("", "none", "null", "true", "false", "...", MASK))

_STRONG = re.compile(r"(password|passwd|passphrase|secret|credential|apikey)s?$|^authorization$")
_KEYS = {"api", "access", "secret", "private", "account", "auth", "signing", "encryption", "shared", "master"}
_HARMLESS = frozenset(
    (
        *("file", "files", "path", "paths", "dir", "folder", "url", "uri", "endpoint", "host", "port", "name", "user"),
        *("username", "type", "kind", "expiry", "expires", "ttl", "length", "size", "dim", "limit", "count", "min"),
        *("max", "field", "column", "required", "enabled"),
    )
)
"""What a name ends with that tells of a secret, but holds none: where it is, whose it is, how long it is."""
_OF_A_TEXT = frozenset(
    (
        *("pad", "bos", "eos", "cls", "sep", "mask", "unk", "class", "start", "end", "special", "next", "previous"),
        *("num", "per", "first", "last", "stop", "image", "text", "prompt", "distill", "distillation", "register"),
        *("begin", "blank", "separator"),
    )
)
"""Tokens of a text, not of a service: model.pad_token, tokenizer.bos_token."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a name says that its value is a secret: "dataset.password", "api_key", "AWS_SECRET_ACCESS_KEY"."""
    last = name.rpartition(".")[2]
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", plain) if word]
    while words and words[-1].isdigit():
        words.pop()
    if not words or words[-1] in _HARMLESS:
        return False
    if any(_STRONG.search(word) for word in words) or words in (["pass"], ["pwd"]):
        return True
    if any(one in _KEYS and other == "key" for one, other in itertools.pairwise(words)):
        return True
    return words[-1].endswith("token") and not _OF_A_TEXT.intersection(words)


@lru_cache(maxsize=4096)
def is_secret_variable(name: str) -> bool:
    """Whether an environment variable holds a secret, as its name says; PWD is the current folder."""
    words = name.upper().split("_")
    if name.upper() in ("PWD", "OLDPWD") or words[-1].lower() in _HARMLESS:
        return False
    return is_secret_name(name) or "TOKEN" in words or words[-1] in ("PASS", "PWD", "PAT", "SSHPASS")


def hides(name: str, value: Any) -> bool:
    """Whether a value is a secret because of its name; ``use_auth_token=true`` is none."""
    if not name or value is None or isinstance(value, bool) or not is_secret_name(name):
        return False
    if isinstance(value, str):
        return value.lower() not in NO_SECRET and not REFERENCE.match(value)
    return not name.lower().endswith("token")  # a number


@lru_cache(maxsize=256)
def is_place(value: str) -> bool:
    """Whether the value of GOOGLE_APPLICATION_CREDENTIALS and its like is the path of a file."""
    return os.sep in value and "\0" not in value and len(value) < 1000 and Path(value).expanduser().exists()
