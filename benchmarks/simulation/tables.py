"""The page's tables, as rows of text."""

from collections.abc import Iterator
from dataclasses import fields, replace

from benchmarks.simulation import document
from benchmarks.simulation.days import Job, simulate
from benchmarks.simulation.jobs import Clip, Video
from benchmarks.simulation.limits import limits
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, bill, cost
from benchmarks.simulation.results import (
    A_DAY,
    NEXT_SEGMENTS,
    SEGMENTS,
    Cell,
    changes,
    grid,
    one_alone,
    others,
    ways,
)


def rows(name: str, p: Parameters) -> Iterator[tuple[str, ...]]:
    """A table of the page, its head first. Raises KeyError for one that there is not."""
    return {
        "parameters": _parameters,
        "prices": lambda _: _prices(),
        "times": _times,
        "costs": _costs,
        "bill": _bill,
        "limits": _limits,
        "next": _next,
        "document": _document,
        "others": _others,
    }[name](p)


def _parameters(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "parameter", "value", "unit", "from"
    for each in fields(p):
        value = f"{getattr(p, each.name):g}"
        yield f"`{each.name}`", value, each.metadata["unit"], each.metadata["source"]


def _prices() -> Iterator[tuple[str, ...]]:
    yield "usage", "$", "of"
    for each in fields(Prices):
        yield f"`{each.name}`", f"{each.metadata['usd']:g}", each.metadata["what"]


def _times(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "segments", *(f"{_spaced(a_day)} a day" for a_day in A_DAY)
    cells = {(c.segments, c.a_day): c for c in grid(p)}
    for segments in SEGMENTS:
        yield str(segments), *(_time(cells[segments, a_day]) for a_day in A_DAY)


def _time(cell: Cell) -> str:
    times = "piles up" if cell.piles_up else f"{cell.middle / 60:.1f} / {cell.late / 60:.1f}"
    return f"{times} ({100 * cell.filled:.0f} %)"


def _costs(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "segments", "$ a clip", *(f"all told, {_spaced(n)} a day" for n in A_DAY)
    for segments in SEGMENTS:
        _, usd = one_alone(Clip(segments), p)
        told = (f"{usd + p.standing_usd / a_day:.4f}" for a_day in A_DAY)
        yield str(segments), f"{usd:.4f}", *told


def _bill(p: Parameters) -> Iterator[tuple[str, ...]]:
    jobs: dict[str, Job] = {
        "clip of 5": Clip(5),
        "without a GPU": document.video(p),
        "with a GPU": document.video(p, gpu=True),
    }
    used = [simulate(job, iter([0.0]), replace(p, cold_start_spread=0), 1) for job in jobs.values()]
    yield "usage", *(f"{name}: {unit}" for name in jobs for unit in ("used", "$"))
    bills = [bill(one.used(), Prices()) for one in used]
    for name in bills[0]:
        pairs = ((getattr(o.used(), name), b[name]) for o, b in zip(used, bills, strict=True))
        yield f"`{name}`", *(text for u, usd in pairs for text in (f"{u:.6g}", f"{usd:.6f}"))
    yield "all", *(text for o in used for text in ("", f"{cost(o.used(), Prices()):.6f}"))


def _limits(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "clips a day that fill", *(f"{segments} segments" for segments in SEGMENTS)
    found = [{limit.name: limit for limit in limits(Clip(n), p)} for n in SEGMENTS]
    for name in found[NEXT_SEGMENTS // 5]:
        days = (limits_of[name].jobs_a_day(p) for limits_of in found)
        yield name, *map(_spaced, days)


def _next(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "change", "full first", "at clips a day", "then", "at clips a day"
    for name, changed in changes(p).items():
        first, second, *_ = limits(Clip(NEXT_SEGMENTS), changed)
        told = ((one.name, _spaced(one.jobs_a_day(changed))) for one in (first, second))
        yield name, *(text for pair in told for text in pair)


def _document(p: Parameters) -> Iterator[tuple[str, ...]]:
    yield "way", "minutes", "$ a video", "minutes ÷ 30", "$ ÷ 3.50"
    for way in ways(p):
        faster, cheaper = way.minutes / document.AT_ONCE_MINUTES, way.usd / document.USD
        yield way.name, f"{way.minutes:.1f}", f"{way.usd:.2f}", f"{faster:.2f}", f"{cheaper:.2f}"


def _others(p: Parameters) -> Iterator[tuple[str, ...]]:
    length = document.minutes(p)
    made = (document.SHORTS, document.SHORT_SECONDS)
    jobs: dict[str, Job] = {
        "clip of 5": Clip(5),
        "video": Video(length, *made),
        "video, GPU": Video(length, *made, gpu=True),
    }
    yield "if", *(f"{name}: {unit}" for name in jobs for unit in ("minutes", "$"))
    for name, other in others(p).items():
        told = (one_alone(job, other) for job in jobs.values())
        yield name, *(text for m, usd in told for text in (f"{m:.1f}", f"{usd:.4f}"))


def _spaced(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")
