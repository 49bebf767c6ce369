"""Templates into HTML: everything escaped, the style allowed by its hash, and nothing else."""

import re
from base64 import b64encode
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from hashlib import sha256
from html import escape, unescape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clipflow.domain.timecode import format_clock

_LINK = re.compile(r'\b(src|href)="([^"]*)"')


def render(template: str, **values: Any) -> str:
    """The page that `template` makes of `values`, which are text, never markup."""
    environment, style = _environment(), _style()
    return environment.get_template(template).render(
        # As it is, because its hash is what the browser allows.
        style=Markup(style),
        style_hash=f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}",
        **values,
    )


def relinked(page: str, files: Mapping[str, str]) -> str:
    """`page` for a folder where its files have other names: `files` tells each old one's new one.

    Both are relative URLs from the page: what a file system allows and a URL does not is quoted.
    """

    def link(match: re.Match[str]) -> str:
        old = unescape(match[2])
        return f'{match[1]}="{escape(files[old])}"' if old in files else match[0]

    return _LINK.sub(link, page)


def clock(seconds: Fraction | float) -> str:
    """For reading: `0:36`, `15:30`, `1:02:03`; what is left of a second cut off."""
    hour, minute, second = format_clock(Fraction(seconds)).split(":")
    return f"{int(minute)}:{second}" if hour == "00" else f"{int(hour)}:{minute}:{second}"


def size(count: int) -> str:
    """Bytes for reading: `840 kB`, `4.2 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("clipflow.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "size": size}
    return environment


@cache
def _style() -> str:
    environment = _environment()
    assert environment.loader
    text, _, _ = environment.loader.get_source(environment, "style.css")
    return text
