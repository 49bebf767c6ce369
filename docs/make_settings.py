"""Write `settings.md`: every setting, from the class or the template that reads it.

    python -m docs.make_settings

Whoever adds a setting describes it there, and runs this; a test fails until then.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from clipflow.settings import FanOut, Limits, Models, Settings
from clipflow.telemetry.tracing import PROPAGATED_SETTINGS
from deployments.bridge.__main__ import BridgeSettings
from deployments.local_stack.settings import StackSettings
from deployments.operate import templates
from deployments.work_pools import PoolSettings, WorkPool, work_pools

PAGE = Path(__file__).parent / "settings.md"
Row = tuple[str, str, str]

_CLASSES: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("Where things are", Settings),
    ("How much, and how long", Limits),
    ("Who listens, and who chooses", Models),
    ("Many machines", FanOut),
    ("The local stack", StackSettings),
    ("The bridge", BridgeSettings),
    ("The work pools on AWS", PoolSettings),
)
_HEAD = """\
# Settings

Each is an environment variable. This page is written by `docs/make_settings.py` from the classes
and templates that read them, so it is not to be edited. What is not valid ends the program with a
line that names it.

`make up` hands its own environment on to the runs, as in `CLIPFLOW_TRANSCRIBER=whisperx make up`;
`make deploy` hands on what flow runs read, but for secrets. What it learns from its own stacks need
not be set for it.
"""
_LIST = "| setting | default | what |\n| --- | --- | --- |\n"
_SIZES = """
## The sizes of the work pools

Each pool's file under `deployments/work_pools/` names its sizes; a variable goes before it.

| pool | sized by | as it is | what runs there |
| --- | --- | --- | --- |
"""
_STACKS = """
## The stacks

What `make deploy` tells the templates in `infra/`, beyond what they tell each other. One that is
not set keeps the value its stack has.

"""
_TRACES = """
## Traces

Where one of the first two names a collector, spans go there; unset, nothing is sent. They are
OpenTelemetry's own, as its specification has them, and so are the others that its SDK reads:

{names}
"""


class NamesOnly(yaml.SafeLoader):
    """YAML whose intrinsic functions are left out: only parameters are read."""


NamesOnly.add_multi_constructor("!", lambda loader, suffix, node: None)


def page() -> str:
    """The whole page, as it should be now."""
    parts = [_HEAD]
    for title, kind in _CLASSES:
        parts.append(
            f"\n## {title}\n\n{_doc(kind)}\n\n{_table(map(_row, kind.model_fields.values()))}"
        )
    parts.append(_SIZES + "".join(_size_lines()))
    parts.append(_STACKS + _table(_stack_rows()))
    parts.append(_TRACES.format(names="\n".join(f"- `{name}`" for name in PROPAGATED_SETTINGS)))
    return "".join(parts)


def variables() -> set[str]:
    """Every setting that the classes know."""
    return {
        str(field.validation_alias) for _, kind in _CLASSES for field in kind.model_fields.values()
    }


def _doc(kind: type[BaseSettings]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _table(rows: Iterable[Row]) -> str:
    return _LIST + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(field: FieldInfo) -> Row:
    """Raises TypeError for a setting that nobody has described."""
    if not field.description:
        raise TypeError(f"{field.validation_alias} has no description.")
    default = "must be set" if field.is_required() else _default(field.default)
    return f"`{field.validation_alias}`", default, field.description


def _default(value: Any) -> str:
    match value:
        case None:
            return "none"
        case "":
            return "empty"
        case Enum():
            return f"`{value.value}`"
        case Path() if value == Path(gettempdir()):
            return "the system's"
    return f"`{value}`"


def _size_lines() -> Iterator[str]:
    gpus = [pool for pool in work_pools(gpu=True, environment={}) if pool.gpus]
    for pool in sorted([*work_pools(gpu=False, environment={}), *gpus], key=lambda pool: pool.kind):
        prefix = f"CLIPFLOW_{pool.purpose.upper()}"
        sized = f"`{prefix}_CPU`, `…_MEMORY`, `…_STORAGE_GIB`, `…_LIMIT`"
        cells = (f"`{pool.name}`", sized, _size(pool), pool.description)
        yield f"| {' | '.join(cells)} |\n"


def _size(pool: WorkPool) -> str:
    disk = f", {pool.storage_gib} GiB of disk" if pool.storage_gib else ""
    gpu = f", {pool.gpus} GPU" if pool.gpus else ""
    return f"{pool.cpu} units of CPU, {pool.memory} MiB{disk}{gpu}"


def _stack_rows() -> Iterator[Row]:
    every = templates.read()
    outputs = {name for template in every for name in template.outputs}
    told: dict[str, Row] = {}
    for template in every:
        described = yaml.load(template.body, NamesOnly).get("Parameters", {})
        for name, parameter in template.parameters.items():
            if name not in outputs or "Description" in described[name]:
                default = (
                    "must be set" if parameter.default is None else _default(parameter.default)
                )
                what = (
                    described[name].get("Description")
                    or f"As `{name}` of `infra/{template.name}.yaml`."
                )
                told.setdefault(parameter.variable, (f"`{parameter.variable}`", default, what))
    yield from (told[variable] for variable in sorted(told))


if __name__ == "__main__":
    PAGE.write_text(page())
