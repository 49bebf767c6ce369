"""The base class of models for external data, common types of fields, JSON and its errors."""

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Annotated, Any, Self
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.post_text import REORDERING

# The most errors described per input; of others, the field is named.
_MAX_ERRORS, _MAX_NAMED = 8, 30
# Errors whose messages name types of Python.
_JSON_TYPES = {
    "tuple_type": "Input should be a list",
    "list_type": "Input should be a list",
    "dict_type": "Input should be an object",
    "model_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
}
# A part of an error's location that is no field: pydantic's name of a validator in a union.
_VALIDATOR = re.compile(r"[a-z-]+\[.*", re.DOTALL)
# Unicode's categories of control characters, lone surrogates and line separators.
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
_MAX_DEPTH = 64
_MAX_NAME_LENGTH = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKS = re.compile("^\\s*\ufeff[\\s\ufeff]*")
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


def _identifier(value: str) -> str:
    if not _IDENTIFIER.fullmatch(value) or value in (".", ".."):
        raise ValueError("an identifier is 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return value


# Identifiers become parts of keys, so a value that could leave its prefix is invalid.
Identifier = Annotated[
    str,
    AfterValidator(_identifier),
    # Prefect's forms validate by this schema.
    WithJsonSchema({"type": "string", "pattern": f"^{_IDENTIFIER.pattern}$"}),
]


def check_object_key(value: str) -> str:
    """`value`, if it can be an object's key. Raises ValueError."""
    if not 1 <= len(value.encode()) <= 1024 or value.startswith("/"):
        raise ValueError("an object key is 1 to 1024 bytes, and relative")
    if {".", ".."} & set(value.split("/")):
        raise ValueError("an object key has no . and no .. between its slashes")
    if {category(character) for character in value} & _INVISIBLE:
        raise ValueError("an object key has no control characters")
    return value


ObjectKey = Annotated[str, AfterValidator(check_object_key)]
_LARGEST_TRACK = 255


def parse_audio_track(value: object) -> int | str | None:
    """Parses an audio track's number or language tag; None for None. Raises ValueError."""
    if isinstance(value, str):
        text = value.strip()
        if _is_tag(text):
            return text
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None
    elif value is None:
        return None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = float(value)
        if number.is_integer() and 0 <= number <= _LARGEST_TRACK:
            return int(number)
    raise ValueError(
        f"an audio track is a number from 0 to {_LARGEST_TRACK} or a language such as en or pt-BR"
    )


def _is_tag(text: str) -> bool:
    first, *others = text.replace("_", "-").split("-")
    subtags = all(1 <= len(part) <= 8 and part.isascii() and part.isalnum() for part in others)
    return 2 <= len(first) <= 3 and first.isascii() and first.isalpha() and subtags


# The number of an audio track among those of its source, from 0, or a language tag (BCP 47).
AudioTrack = Annotated[
    int | str,
    BeforeValidator(parse_audio_track),
    WithJsonSchema({"type": ["integer", "string"]}),
]


class Model(BaseModel):
    """A model with camelCase names in JSON. Unknown fields are ignored."""

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
        """Validates `value`. Raises InvalidInputError naming `what` and each invalid field."""
        try:
            # Only the JSON names are valid, since other readers do not know Python's.
            return cls.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidInputError(f"{what} is not valid: {describe_errors(error)}.") from None


class StrictModel(Model):
    """A model for documents that people write: snake_case names, and unknown fields are errors."""

    model_config = ConfigDict(alias_generator=None, extra="forbid")


def whole_number(value: object) -> object:
    """`value`, as an int if it is the text of one; other values unchanged."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value.strip()) else value


class _Repeating(dict[str, Any]):
    """A JSON object in which a name occurs more than once: the first such name is `repeated`."""

    repeated: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    counts = Counter(name for name, _ in pairs)
    repeating = _Repeating(found)
    repeating.repeated = next(name for name, count in counts.items() if count > 1)
    return repeating


def parse_json(
    text: str | bytes, what: str, remedy: str = "", *, unique_names: bool = False
) -> Any:
    """Parses JSON. A byte-order mark is ignored; bytes may be UTF-8, UTF-16 or UTF-32.

    Raises InvalidInputError, which names `what`, if `text` is not JSON or Prefect cannot store it:
    if it is nested more than `_MAX_DEPTH` deep, or has integers of more than 64 bits or lone
    surrogates; with `unique_names` also if a name occurs twice in an object, of which the first
    value would be lost.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        # Programs that join or convert files may leave several marks, or blanks before one.
        hook = _object if unique_names else None
        value = json.loads(_MARKS.sub("", text), object_pairs_hook=hook)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} is not JSON: {error}.", remedy) from None
    pending: list[tuple[Any, tuple[object, ...]]] = [(value, ())]
    while pending:
        inner, path = pending.pop()
        if why := _invalid_reason(inner, len(path)):
            raise InvalidInputError(f"{what} is not valid: {_named(path)}: {why}.", remedy)
        if isinstance(inner, _Repeating):
            name = _named((*path, inner.repeated))
            raise InvalidInputError(f"{what} is not valid: {name}: it is there twice.", remedy)
        if isinstance(inner, dict):
            pending += [(part, (*path, key)) for key, part in inner.items()]
            pending += [(key, (*path, "a name")) for key in inner]
        elif isinstance(inner, list):
            pending += [(part, (*path, place)) for place, part in enumerate(inner)]
    return value


def _invalid_reason(value: object, depth: int) -> str:
    """Why Prefect cannot store the value; empty if it can."""
    if depth > _MAX_DEPTH:
        return f"it is nested more than {_MAX_DEPTH} deep"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "an integer has at most 64 bits"
    if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        return "a text has a lone surrogate"
    return ""


def _named(path: tuple[object, ...]) -> str:
    # Names in the input can have any length.
    return _in_one_line(".".join(str(part)[:_MAX_NAME_LENGTH] for part in path[:8]) or "value")


def describe_errors(invalid: ValidationError) -> str:
    """The errors of each field, in one line, without the input's values."""
    found = invalid.errors(include_url=False, include_input=False)
    described = [f"{_field(error)}: {_reason(error)}" for error in found[:_MAX_ERRORS]]
    others = list(dict.fromkeys(_field(error) for error in found[_MAX_ERRORS:]))
    if others:
        more = ", …" if len(others) > _MAX_NAMED else ""
        described.append(f"and {len(others)} more: {', '.join(others[:_MAX_NAMED])}{more}")
    return _in_one_line("; ".join(described))


def _field(error: ErrorDetails) -> str:
    return _named(tuple(part for part in error["loc"] if not _VALIDATOR.match(str(part))))


def _reason(error: ErrorDetails) -> str:
    return _JSON_TYPES.get(error["type"], error["msg"].removeprefix("Value error, "))


def _in_one_line(text: str) -> str:
    # The text can contain parts of the input, in which a line break could forge a log line, and
    # characters that reorder others a different name.
    bounded = REORDERING.sub("�", text)
    return "".join("�" if category(character) in _INVISIBLE else character for character in bounded)
