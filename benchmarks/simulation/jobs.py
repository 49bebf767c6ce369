"""What the flows do: a clip from its event to its record, a long video to its shorts."""

from dataclasses import dataclass

from benchmarks.simulation.engine import Process
from benchmarks.simulation.machines import machines
from benchmarks.simulation.prices import Usage
from benchmarks.simulation.steps import Step, extract, prepare, render, stitch
from benchmarks.simulation.world import World, at_most


@dataclass(frozen=True)
class Clip:
    """So many segments of an episode, asked for by an event of its own."""

    segments: int

    def process(self, world: World) -> Process:
        orchestrate = machines()["orchestrate"]
        yield world.carried()
        yield from world.on(orchestrate, _starting(world))
        yield from world.on(orchestrate, self._made(world))

    def _made(self, world: World) -> Process:
        p = world.p
        world.asked += Usage(table_writes=p.table_writes, table_reads=4)
        yield from _children(world, "media", extract(p), self.segments)
        joined = stitch(self.segments, p)
        world.asked += joined.used
        yield joined.seconds


@dataclass(frozen=True)
class Video:
    """A video of so many minutes, and so many shorts of it; `gpu` is whether one hears it."""

    minutes: float
    shorts: int
    seconds: float
    gpu: bool = False

    def process(self, world: World) -> Process:
        yield world.call(world.p.start_calls)
        yield from world.on(machines()["orchestrate"], self._made(world))

    def _made(self, world: World) -> Process:
        p, kind = world.p, "prepare-gpu" if self.gpu else "prepare"
        world.asked += Usage(table_writes=p.table_writes, table_reads=4)
        heard = prepare(self.minutes, self.shorts, self.seconds, machines()[kind], p)
        yield from _children(world, kind, heard, 1)
        made = render(self.seconds, machines()["media"], p)
        yield from _children(world, "media", made, self.shorts)


def _starting(world: World) -> Process:
    yield world.call(world.p.start_calls)


def _children(world: World, kind: str, step: Step, count: int) -> Process:
    world.asked += step.used * count
    machine, cap = machines()[kind], int(world.p.children_at_once)
    parts = (world.child(machine, step.seconds) for _ in range(count))
    yield from at_most(world.clock, cap, parts)
