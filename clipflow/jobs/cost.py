"""The estimated CPU time of segments and shorts, and their division over machines."""

from collections.abc import Sequence

from clipflow.jobs.segment import SegmentPlan

# Measured with `smart_cut` on one thread and sources of 1080p: H.264, which is copied, took half of
# the estimate, and HEVC, which is encoded, as much as the estimate.
# CPU-seconds to start the programs and read the window, whatever its length.
_START = 1.0
# CPU-seconds to decode and encode a million pixels.
_MILLION_PIXELS = 0.02
# CPU-seconds to copy, verify and store a second of video, and to encode its audio.
_COPY = 0.05
# Seconds of pictures that a smart cut encodes at its two ends: the usual group of pictures of an
# encoder that is not configured for streaming, of which half lies at each end on average.
_ENCODED_AT_ENDS = 8.0


def cut_cpu_seconds(plan: SegmentPlan) -> float:
    """The estimated CPU-seconds of cutting a segment.

    It depends on the plan alone, so that a run that is started again divides its segments in the
    same way and adopts the child runs of the earlier attempt.
    """
    duration, target = float(plan.span.duration), plan.target
    encoded = duration if target.copied is None else min(duration, _ENCODED_AT_ENDS)
    pixels = max(plan.source.width * plan.source.height, target.width * target.height)
    frames = encoded * float(plan.source.frame_rate)
    return _START + _COPY * duration + _MILLION_PIXELS * frames * pixels / 1e6


# CPU-seconds to cut the moment of a short of which most is copied, find faces and make pictures.
_SHORT_START = 12.0
# CPU-seconds to render a million pixels of a short for a second (`render/vs-four-encodes`).
_RENDER = 0.75


def render_cpu_seconds(seconds: float, pixels: int) -> float:
    """The estimated CPU-seconds of cutting a moment and rendering its short, which has so many
    pixels. It depends on nothing that a run which is started again would find different."""
    return _SHORT_START + _RENDER * seconds * pixels / 1e6


def divide(costs: Sequence[float], worth: float, most: int) -> list[list[int]]:
    """The numbers of the parts that each machine makes, or an empty list for all in place.

    Parts that cost less than `worth` together are made in place. Otherwise there are at most `most`
    machines, and so few that each has about `worth` or more, except that a part is never divided.
    With a `worth` of 0, each part has a machine of its own.
    """
    numbers = range(len(costs))
    if not worth:
        return [[number] for number in numbers]
    total = sum(costs)
    if total < worth:
        return []
    count = min(most, len(costs), int(total // worth))
    groups: list[list[int]] = [[] for _ in range(count)]
    sums = [0.0] * count
    # The longest part goes first to the machine with the least work (LPT scheduling).
    for number in sorted(numbers, key=lambda each: -costs[each]):
        least = sums.index(min(sums))
        groups[least].append(number)
        sums[least] += costs[number]
    return sorted(sorted(group) for group in groups)
