"""The simulation as findings beside the measured ones."""

from benchmarks.measure import Finding
from benchmarks.simulation import document
from benchmarks.simulation.jobs import Clip
from benchmarks.simulation.limits import limits
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices
from benchmarks.simulation.results import NEXT_SEGMENTS, one_alone, ways


def measured(p: Parameters | None = None) -> list[Finding]:
    """The document's video against its time and cost; a clip; and what fills up first."""
    p = p or Parameters()
    listed = document.list_price(Prices())
    *_, plain, gpu = ways(p)
    found = []
    for name, way in (("", plain), ("-gpu", gpu)):
        told = f"{way.minutes:.1f} of {document.AT_ONCE_MINUTES:.0f} minutes"
        paid = f"${way.usd:.2f} of ${document.USD:.2f}; its machines' list price is ${listed:.2f}"
        faster = way.minutes / document.AT_ONCE_MINUTES
        found.append(Finding(f"scale/time-vs-document{name}", faster, 1, told))
        found.append(Finding(f"scale/cost-vs-document{name}", way.usd / document.USD, 1, paid))
    minutes, usd = one_alone(Clip(NEXT_SEGMENTS), p)
    first = limits(Clip(NEXT_SEGMENTS), p)[0]
    clip = f"a clip of {NEXT_SEGMENTS} segments"
    return [
        *found,
        Finding("scale/clip-minutes", minutes, None, f"{clip}, ${usd:.4f}"),
        Finding("scale/clips-a-day", first.jobs_a_day(p), None, f"{clip}; then full: {first.name}"),
    ]
