"""What every shape of the outside shares: its names, its identifiers, and how it is refused."""

import json
import re
from typing import Annotated, Any, Self
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from clipflow.domain.errors import InvalidInputError

# Faults told of one input: a person mends the first ones, and then sees the rest.
_MOST_FAULTS = 8
# Unicode's categories of controls, lone surrogates and what parts lines.
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
_DEEPEST = 64
_LONGEST_NAME = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


def _identifier(value: str) -> str:
    if not _IDENTIFIER.fullmatch(value) or value in (".", ".."):
        raise ValueError("an identifier is 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return value


# Identifiers become parts of keys, so whatever could leave a prefix is refused here.
Identifier = Annotated[
    str,
    AfterValidator(_identifier),
    # For forms, which check it before anything is asked for.
    WithJsonSchema({"type": "string", "pattern": f"^{_IDENTIFIER.pattern}$"}),
]


def _object_key(value: str) -> str:
    if not 1 <= len(value.encode()) <= 1024 or value.startswith("/"):
        raise ValueError("an object key is 1 to 1024 bytes, and relative")
    if {".", ".."} & set(value.split("/")):
        raise ValueError("an object key has no . and no .. between its slashes")
    if {category(character) for character in value} & _UNSEEN:
        raise ValueError("an object key has no control characters")
    return value


ObjectKey = Annotated[str, AfterValidator(_object_key)]


class Model(BaseModel):
    """A shape with the camelCase names of the outside, snake_case inside; unknown fields pass."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        arbitrary_types_allowed=True,
        frozen=True,
    )

    @classmethod
    def read(cls, value: object, what: str) -> Self:
        """`value` as this model. Raises InvalidInputError naming `what` and each field at fault."""
        try:
            # Only the outside's own names: ours would be lost on whoever reads the value next.
            return cls.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidInputError(f"{what} is not valid: {describe_errors(error)}.") from None


def parse_json(text: str | bytes, what: str, remedy: str = "") -> Any:
    """`text` as JSON. Raises InvalidInputError naming `what` where it is none, or none that
    travels.

    What travels is at most `_DEEPEST` deep, its whole numbers have 64 bits, and its texts are
    Unicode: else Prefect's server and its client cannot write it, also where it means nothing here.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} is not JSON: {error}.", remedy) from None
    waiting: list[tuple[Any, tuple[object, ...]]] = [(value, ())]
    while waiting:
        inner, path = waiting.pop()
        if why := _cannot_travel(inner, len(path)):
            raise InvalidInputError(f"{what} is not valid: {_named(path)}: {why}.", remedy)
        if isinstance(inner, dict):
            waiting += [(part, (*path, key)) for key, part in inner.items()]
            waiting += [(key, (*path, "a name")) for key in inner]
        elif isinstance(inner, list):
            waiting += [(part, (*path, place)) for place, part in enumerate(inner)]
    return value


def _cannot_travel(value: object, depth: int) -> str:
    """Why not; empty where it can."""
    if depth > _DEEPEST:
        return f"it is nested more than {_DEEPEST} deep"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a whole number has at most 64 bits"
    if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        return "a text has half a character"
    return ""


def _named(path: tuple[object, ...]) -> str:
    # A name may be as long as whoever sent it likes.
    return _in_one_line(".".join(str(part)[:_LONGEST_NAME] for part in path[:8]) or "value")


def describe_errors(error: ValidationError) -> str:
    """What is wrong, field by field, in one line, without repeating the input."""
    found = error.errors(include_url=False, include_input=False)
    told = [
        f"{_named(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in found[:_MOST_FAULTS]
    ]
    left = len(found) - len(told)
    whole = "; ".join([*told, *([f"and {left} more"] if left else [])])
    return _in_one_line(whole)


def _in_one_line(text: str) -> str:
    # What came in may be in it, and a line of its own in a log would be a lie.
    return "".join("�" if category(character) in _UNSEEN else character for character in text)
