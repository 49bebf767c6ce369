"""Generators of malformed and hostile values, determined by a seed."""

import copy
import math
from collections.abc import Iterator
from random import Random
from typing import Any

HOSTILE_TEXTS = (
    "",
    " ",
    ".",
    "..",
    "../../secret",
    "a/../../b",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "concat:a|b",
    "..\\..\\windows",
    "%2e%2e%2fsecret",
    "a\0b",
    "a\nb",
    "a\r\nX-Header: 1",
    "\ud800",
    "\u202e\u2066",
    "\u2028",
    "é" * 600,
    "x" * 5000,
    "{tenantId}",
    "$(touch /tmp/owned)",
    "`id`; rm -rf /",
    "'; DROP TABLE clips; --",
    "{\\pos(0,0)\\fs999}{\\p1}m 0 0",
    "\\N\\h{\\an8}",
    "x,drawtext=textfile=/etc/passwd",
    "movie=/etc/passwd[a];[a]",
    "[v:0]null;",
    "00:00:00",
    "99:99:99",
    "00:00:01,999",
    "-1",
    "1e999",
    "NaN",
    "９９:００:００",
    "clip#x",
    "true",
)
EXTREME_NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63),
    10**30,
    10**400,
    0.1,
    -0.0,
    5e-324,
    1e-130,
    1e126,
    1.7976931348623157e308,
    math.nan,
    math.inf,
    -math.inf,
)

_CHARACTERS = "aZ09._-/\\{}[]():;,'\"<>&%$#@*+=~`|!? \t\n\0\x7fäß中あ😀\u0301\u200f\ufeff"


def text(chance: Random) -> str:
    if chance.random() < 0.6:
        return chance.choice(HOSTILE_TEXTS)
    return "".join(chance.choices(_CHARACTERS, k=chance.randrange(30)))


def number(chance: Random) -> float:
    if chance.random() < 0.6:
        return chance.choice(EXTREME_NUMBERS)
    return chance.choice((chance.uniform(-10, 1e6), chance.randrange(-5, 10**12)))


def anything(chance: Random, depth: int = 3) -> Any:
    """A random JSON value, which may contain values that the JSON standard does not allow."""
    kind = chance.randrange(6 if depth else 4)
    if kind == 4:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 5:
        return {text(chance): anything(chance, depth - 1) for _ in range(chance.randrange(4))}
    return (text(chance), number(chance), chance.choice((None, True, False)), text(chance))[kind]


def corrupted(valid: Any, chance: Random) -> Any:
    """`valid`, an accepted JSON value, with one to three values replaced, removed or duplicated."""
    if chance.random() < 0.05:
        return anything(chance)
    value = copy.deepcopy(valid)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(value))
        if places:
            _corrupt_value(*chance.choice(places), chance)
    return value


def _corrupt_value(holder: Any, name: Any, chance: Random) -> None:
    match chance.choice(("other", "text", "number", "text", "number", "lost", "doubled")):
        case "other":
            holder[name] = anything(chance)
        case "text":
            holder[name] = text(chance)
        case "number":
            holder[name] = number(chance)
        case "lost":
            del holder[name]
        case _ if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[name]))
        case _:
            holder[text(chance)] = copy.deepcopy(holder[name])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in list(inside):
        yield value, name
        if isinstance(inner, dict | list):
            yield from _places(inner)
