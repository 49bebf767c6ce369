"""The base of all models read from outside: field names, identifiers and validation errors."""

import json
import re
from typing import Annotated, Any, Self
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from clipflow.domain.errors import InvalidInputError

# Errors reported per input; the rest is reported once these are fixed.
_MAX_ERRORS = 8
# Unicode's categories of control characters, lone surrogates and line separators.
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
_MAX_DEPTH = 64
_MAX_NAME_LENGTH = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


def _identifier(value: str) -> str:
    if not _IDENTIFIER.fullmatch(value) or value in (".", ".."):
        raise ValueError("an identifier is 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return value


# Identifiers become parts of keys: anything that could escape a prefix is refused.
Identifier = Annotated[
    str,
    AfterValidator(_identifier),
    # For forms, which check it before a run is started.
    WithJsonSchema({"type": "string", "pattern": f"^{_IDENTIFIER.pattern}$"}),
]


def _object_key(value: str) -> str:
    if not 1 <= len(value.encode()) <= 1024 or value.startswith("/"):
        raise ValueError("an object key is 1 to 1024 bytes, and relative")
    if {".", ".."} & set(value.split("/")):
        raise ValueError("an object key has no . and no .. between its slashes")
    if {category(character) for character in value} & _INVISIBLE:
        raise ValueError("an object key has no control characters")
    return value


ObjectKey = Annotated[str, AfterValidator(_object_key)]


class Model(BaseModel):
    """A model with camelCase names in JSON and snake_case ones in Python; unknown fields are
    ignored."""

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
            # Only the JSON names: others that read the value do not know the Python ones.
            return cls.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidInputError(f"{what} is not valid: {describe_errors(error)}.") from None


def parse_json(text: str | bytes, what: str, remedy: str = "") -> Any:
    """`text` parsed as JSON. Raises InvalidInputError, which names `what`, if it is not JSON or
    cannot be passed on.

    What can be passed on is at most `_MAX_DEPTH` deep, its whole numbers have 64 bits, and its
    texts are Unicode: otherwise Prefect's server and client cannot store it. A byte-order mark is
    not part of the text, and bytes may also be UTF-16 or UTF-32, as editors on Windows save them.
    """
    try:
        value = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} is not JSON: {error}.", remedy) from None
    waiting: list[tuple[Any, tuple[object, ...]]] = [(value, ())]
    while waiting:
        inner, path = waiting.pop()
        if why := _invalid_reason(inner, len(path)):
            raise InvalidInputError(f"{what} is not valid: {_named(path)}: {why}.", remedy)
        if isinstance(inner, dict):
            waiting += [(part, (*path, key)) for key, part in inner.items()]
            waiting += [(key, (*path, "a name")) for key in inner]
        elif isinstance(inner, list):
            waiting += [(part, (*path, place)) for place, part in enumerate(inner)]
    return value


def _invalid_reason(value: object, depth: int) -> str:
    """Why the value cannot be passed on; empty if it can."""
    if depth > _MAX_DEPTH:
        return f"it is nested more than {_MAX_DEPTH} deep"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a whole number has at most 64 bits"
    if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        return "a text has half a character"
    return ""


def _named(path: tuple[object, ...]) -> str:
    # A name in the input may have any length.
    return _in_one_line(".".join(str(part)[:_MAX_NAME_LENGTH] for part in path[:8]) or "value")


def describe_errors(invalid: ValidationError) -> str:
    """The errors, field by field in one line, without the input."""
    found = invalid.errors(include_url=False, include_input=False)
    described = [
        f"{_named(error['loc'])}: {error['msg'].removeprefix('Value error, ')}"
        for error in found[:_MAX_ERRORS]
    ]
    left = len(found) - len(described)
    whole = "; ".join([*described, *([f"and {left} more"] if left else [])])
    return _in_one_line(whole)


def _in_one_line(text: str) -> str:
    # Parts of the input may be in it; a line break there would forge a line of the log.
    return "".join("�" if category(character) in _INVISIBLE else character for character in text)
