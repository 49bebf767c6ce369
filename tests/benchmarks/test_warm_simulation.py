"""The simulation of warm machines and of clips from a queue, compared with manual calculations."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.simulation.days import (
    machine_usd,
    million,
    server_clips,
    targets,
    whole_days,
)
from benchmarks.simulation.jobs import DAY, Clip, extract, simulate, stitch
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, cost
from benchmarks.simulation.warm import STEPS
from benchmarks.simulation.world import machines
from clipflow.jobs.cost import cut_cpu_seconds
from deployments.cloudformation import templates
from deployments.work_pools.warm import WarmSettings
from tests.benchmarks.test_simulation import EVENT_DELAY, PLAIN, START, seconds_alone
from tests.infra.templates import resources


def test_a_clip_on_a_warm_machine_takes_the_sum_of_its_steps() -> None:
    # Five segments on four cores, one after the other; each start is a fork.
    each = extract(1, machines()["orchestrate"], PLAIN).seconds
    warm = replace(PLAIN, warm_cpu_seconds=240)
    steps = [EVENT_DELAY, 2 * PLAIN.warm_start, 2 * each, stitch(5, PLAIN).seconds]
    assert seconds_alone(Clip(5, "warm"), warm) == pytest.approx(sum(steps))
    # What is too large for it is cut on machines of the media pool.
    there = START + extract(20, machines()["media"], PLAIN).seconds
    steps = [EVENT_DELAY, 2 * PLAIN.warm_start, there, stitch(20, PLAIN).seconds]
    assert seconds_alone(Clip(20, "warm"), warm) == pytest.approx(sum(steps))


def test_runs_on_a_warm_machine_share_its_cores_and_its_places() -> None:
    one = replace(PLAIN, warm_cpu_seconds=240, warm_least=1, warm_most=1)
    alone = seconds_alone(Clip(4, "warm"), one)
    both = max(simulate(Clip(4, "warm"), iter([0.0, 0.0]), one, seed=1).seconds)
    cut = extract(1, machines()["orchestrate"], one).seconds
    assert both == pytest.approx(alone + cut, abs=1)
    fewer = replace(one, warm_runs=1)
    in_order = simulate(Clip(4, "warm"), iter([0.0, 0.0]), fewer, seed=1).seconds
    assert max(in_order) > 1.8 * min(in_order)


def test_warm_machines_are_started_for_runs_that_wait_and_stop_when_they_are_idle() -> None:
    p = replace(PLAIN, warm_cpu_seconds=240, warm_least=0, warm_most=3)
    done = simulate(Clip(4, "warm"), iter([0.0] * 9), p, seed=1)
    world = done.world
    started = p.warm_wait + p.warm_measured + p.provisioning + p.pull + p.process_start
    assert (
        started
        < min(done.seconds)
        < started + 60 + seconds_alone(Clip(4, "warm"), replace(p, warm_least=1))
    )
    assert world.warm.most == 3
    end = world.env.now
    world.env.run(until=end + 2 * 3600)
    billed = world.warm.used().spot_vcpu / 4 / (1 - p.warm_on_demand)
    # At least until they have been idle for long enough, one after the other.
    assert 3 * p.warm_idle < billed < 3 * (end + p.warm_idle + 3 * 300)
    after = world.warm.used()
    world.env.run(until=end + 4 * 3600)
    assert world.warm.used() == after


def test_a_day_of_a_warm_machine_costs_what_the_prices_say() -> None:
    # 24 · (0.75 · (4 · 0.012144 + 8 · 0.0013335) + 0.25 · (4 · 0.04048 + 8 · 0.004445)
    #       + 30 · 0.000111)
    assert machine_usd(Parameters()) == pytest.approx(2.331192)
    p = replace(Parameters(), warm_least=1, warm_most=1)
    done, count = whole_days(Clip(1, "warm"), 100, p)
    machine = cost(done.world.warm.used(), Prices())
    assert machine == pytest.approx(3 * machine_usd(p), rel=1e-3)
    assert cost(done.world.used(), Prices()) / count < machine / count + 0.0005


def test_every_observer_uses_the_server_for_each_task_and_warm_runs_have_none() -> None:
    p = replace(Parameters(), event_ms=0)
    four, one = (server_clips(Clip(1), replace(p, observers=n)) for n in (4, 1))
    # Two runs of 16 calls, one of which was also requested with 2.5, and observers with one.
    assert four == pytest.approx(DAY / 3 / (0.019 * (2 * 16 + 2.5 + 2 * 4 * 1)))
    assert one == pytest.approx(DAY / 3 / (0.019 * (2 * 16 + 2.5 + 2 * 1)))
    warm = {n: server_clips(Clip(1, "warm"), replace(p, observers=n)) for n in (4, 1)}
    assert warm[4] == warm[1] == pytest.approx(DAY / 3 / (0.019 * 34.5))


def test_a_clip_from_a_queue_has_no_run_but_a_share_of_them() -> None:
    done = simulate(Clip(3, "queue"), iter([0.0]), Parameters(), seed=1)
    assert not done.world.submitted and done.world.calls == pytest.approx(0.01 * 2 * 18.5)
    rows = dict(million(Parameters()))
    cores = 10 * extract(1, machines()["orchestrate"], Parameters()).seconds
    cores += stitch(10, Parameters()).seconds
    mean = -(-cores * 1e6 / DAY / 0.7 / 4 // 1)
    assert rows["machines of 4 vCPU: mean, busy hours"].startswith(f"{mean:.0f}, ")


def test_the_work_of_segments_is_about_the_products_estimate() -> None:
    p = Parameters()
    assert p.extract_cpu == pytest.approx(cut_cpu_seconds(plan(45)), abs=0.05)
    # 1 + 3 · 0.05 + 0.02 · 90 · 2.0736; by it, ten short ones are not worth another machine.
    assert cut_cpu_seconds(plan(3)) == pytest.approx(4.88, abs=0.01)
    assert 0.5 < p.brief_cpu / cut_cpu_seconds(plan(3)) <= 1


def plan(seconds: int) -> Any:
    """A segment of 1080p30 that is copied."""
    size = {"width": 1920, "height": 1080}
    return SimpleNamespace(
        span=SimpleNamespace(duration=seconds),
        target=SimpleNamespace(copied=True, **size),
        source=SimpleNamespace(frame_rate=30, **size),
    )


def test_the_page_says_which_targets_are_missed() -> None:
    missed = [one.what for one in targets(Parameters()) if not one.is_met]
    assert missed == [
        "ten segments of 3 s, warm, 1 000 a day",
        "clips of ten segments a day by one process of Prefect's server, tasks",
    ]


def test_warm_machines_are_simulated_as_the_template_has_them() -> None:
    p, settings = Parameters(), WarmSettings.read({})
    body = next(one for one in templates.read() if one.name == templates.WARM)
    given = {name: one.default for name, one in body.parameters.items()}
    assert (p.warm_vcpu, p.warm_gb) == (
        int(given["WarmCpu"] or 0) / 1024,
        int(given["WarmMemory"] or 0) / 1024,
    )
    assert p.warm_disk_gb == int(given["WarmStorageGib"] or 0)
    assert p.warm_runs == settings.runs
    steps = resources("warm", "AWS::ApplicationAutoScaling::ScalingPolicy")["More"][
        "StepScalingPolicyConfiguration"
    ]
    assert p.warm_cooldown == int(steps["Cooldown"])
    assert [(least - 1, more) for least, more in reversed(STEPS)] == [
        (int(one["MetricIntervalLowerBound"]), int(one["ScalingAdjustment"]))
        for one in steps["StepAdjustments"]
    ]
    idle = resources("warm", "AWS::CloudWatch::Alarm")["MachinesAreIdle"]
    assert p.warm_idle == int(idle["Period"]) * int(idle["EvaluationPeriods"])
    [definition] = resources("warm", "AWS::ECS::TaskDefinition").values()
    environment = definition["ContainerDefinitions"][0]["Environment"]
    worth = {"Name": "CLIPFLOW_MACHINE_CPU_SECONDS", "Value": f"{p.warm_cpu_seconds:g}"}
    assert worth in environment
