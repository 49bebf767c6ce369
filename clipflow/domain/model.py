"""What every shape of the outside shares: its names, its identifiers, and how it is refused."""

import json
import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from clipflow.domain.errors import InvalidInput

_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


def _identifier(value: str) -> str:
    if not _IDENTIFIER.fullmatch(value) or value in (".", ".."):
        raise ValueError("an identifier is 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return value


# Identifiers become parts of keys, so whatever could leave a prefix is refused here.
Identifier = Annotated[str, AfterValidator(_identifier)]


def _object_key(value: str) -> str:
    if not 1 <= len(value.encode()) <= 1024 or value.startswith("/") or ".." in value.split("/"):
        raise ValueError("an object key is 1 to 1024 bytes, relative, and without ..")
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
        """`value` as this model. Raises InvalidInput naming `what` and each field at fault."""
        try:
            # Only the outside's own names: ours would be lost on whoever reads the value next.
            return cls.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidInput(f"{what} is not valid: {faults(error)}.") from None


def parsed(text: str | bytes, what: str, remedy: str = "") -> Any:
    """`text` as JSON. Raises InvalidInput naming `what` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} is not JSON: {error}.", remedy) from None


def faults(error: ValidationError) -> str:
    """What is wrong, field by field, in one line, without repeating the input."""
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'value'}: "
        + fault["msg"].removeprefix("Value error, ")
        for fault in found
    )
