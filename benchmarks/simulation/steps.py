"""How long the steps of the media take, and what they read and write. Pure."""

from dataclasses import dataclass
from math import ceil

from benchmarks.simulation.machines import Machine
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Usage


@dataclass(frozen=True)
class Step:
    """So many seconds, of which `used` is what is paid for besides the machine."""

    seconds: float
    used: Usage


def transfer(mb: float, p: Parameters) -> float:
    """Seconds between S3 and one machine."""
    return mb / p.s3_mb


def requests(read_mb: float, written_mb: float, p: Parameters) -> Usage:
    """Of S3; at least one each way."""
    gets = max(1, ceil(read_mb / p.s3_request_mb))
    return Usage(s3_gets=gets, s3_puts=max(1, ceil(written_mb / p.s3_part_mb)))


def media_mb(seconds: float, p: Parameters) -> float:
    return seconds * p.source_mbit / 8


def extract(p: Parameters) -> Step:
    """One segment read, cut and put: only its two ends are encoded, however long it is."""
    made = media_mb(p.segment_seconds, p)
    read = made * p.read_factor
    return Step(p.extract_wall + transfer(read + made, p), requests(read, made, p))


def stitch(segments: int, p: Parameters) -> Step:
    """Every segment read, the sound encoded, the clip put."""
    seconds = segments * p.segment_seconds
    size = media_mb(seconds, p)
    return Step(p.stitch_factor * seconds + transfer(2 * size, p), requests(size, size, p))


def render(seconds: float, machine: Machine, p: Parameters) -> Step:
    """One short of so many seconds: as large a part of the cores is busy as of two."""
    cores = machine.vcpu * p.render_cores / 2
    read, made = media_mb(seconds, p) * p.read_factor, seconds * p.short_mbit / 8
    wall = p.render_cpu * seconds / cores + transfer(read + made, p)
    return Step(wall, requests(read, made, p))


def prepare(minutes: float, shorts: int, seconds: float, machine: Machine, p: Parameters) -> Step:
    """A video of so many minutes heard, its moments chosen, a segment of each cut."""
    gpu = machine.capacity == "EC2"
    heard = 60 * minutes / (p.hear_factor_gpu if gpu else p.hear_factor)
    read = media_mb(60 * minutes, p)
    at_once = min(int(p.children_at_once), int(machine.vcpu))
    cut, made = ceil(shorts / at_once) * p.extract_wall, media_mb(shorts * seconds, p)
    moved = transfer(read + made * (1 + p.read_factor), p)
    wall = moved + p.hear_start + heard + p.choose_seconds + cut
    return Step(wall, requests(read + made * p.read_factor, made, p))
