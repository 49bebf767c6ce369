"""The simulation compared with manual calculations, and docs/scale.md with its results."""

from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simpy import Environment

from benchmarks.__main__ import TOPICS, topics
from benchmarks.simulation import document, standing
from benchmarks.simulation.__main__ import report
from benchmarks.simulation.days import (
    machine_usd,
    plans,
    server_clips,
)
from benchmarks.simulation.jobs import (
    DAY,
    Clip,
    Video,
    around_speech,
    arrivals,
    busy_day,
    extract,
    prepare,
    render,
    simulate,
    stitch,
    window,
)
from benchmarks.simulation.page import PAGE, PAGES, PLOT, filled
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, Usage, bill, cost
from benchmarks.simulation.quotas import Process, Quota, ServerQueue, TokenBucket
from benchmarks.simulation.results import (
    Limit,
    large_model,
    limits,
    mean_job,
    overflows,
    spaced,
    ways,
)
from benchmarks.simulation.world import SimulatedMachine, machines
from benchmarks.sources import QUICK, Sources
from benchmarks.warehouse import Warehouse
from clipflow.media.ranges import LARGEST
from clipflow.settings import Limits
from deployments.bridge import prefect_server
from deployments.bridge.consumer import Timings
from deployments.work_pools import capacity, work_pools
from tasks import children, recovery
from tests.programs import ROOT

# A machine for each segment, however short it is.
SPREAD = replace(Parameters(), machine_cpu_seconds=0)
# An API without latency.
AT_LEISURE = {"call_ms": 0, "poll_ms": 0, "listen_ms": 0}
# Inputs without randomness.
PLAIN = replace(
    SPREAD, worker_poll=0, bridge_poll=0, cold_start_spread=0, spot_losses=0, **AT_LEISURE
)
# Seconds from the scheduling of a run to its own work: worker, machine, process.
START = 1 / PLAIN.worker_runs + PLAIN.provisioning + PLAIN.pull + PLAIN.process_start
# The same for the run that starts a clip, on a quarter of a vCPU.
BEGIN = START - PLAIN.process_start + PLAIN.begin_cpu / 0.25
EVENT_DELAY = 1 / PLAIN.bridge_events + PLAIN.event_seconds
# A worker that submits any number of runs at once, so that all children of a wave start together.
AT_ONCE = replace(PLAIN, worker_runs=1e9, launch_rate=1e9, runtask_rate=1e9)


def seconds_alone(job: Clip | Video, p: Parameters) -> float:
    """The seconds that a job takes when no other job runs."""
    [seconds] = simulate(job, iter([0.0]), p, seed=1).seconds
    return seconds


def test_a_clip_alone_takes_the_sum_of_its_steps() -> None:
    child = START + extract(1, machines()["media"], PLAIN).seconds
    steps = [EVENT_DELAY, BEGIN, START, child, stitch(1, PLAIN).seconds]
    assert seconds_alone(Clip(1), PLAIN) == pytest.approx(sum(steps))


def test_short_segments_are_cut_in_place_and_longer_ones_in_groups() -> None:
    p = replace(PLAIN, machine_cpu_seconds=90)
    # 6 · 13.2 is less than 90; 20 · 13.2 is enough for two machines, with ten segments each.
    here = extract(6, machines()["orchestrate"], p).seconds
    steps = [EVENT_DELAY, BEGIN, START, here, stitch(6, p).seconds]
    assert seconds_alone(Clip(6), p) == pytest.approx(sum(steps))
    there = START + extract(10, machines()["media"], p).seconds
    steps = [EVENT_DELAY, BEGIN, START, there, stitch(20, p).seconds]
    # The second machine is submitted after the first one.
    assert seconds_alone(Clip(20), p) == pytest.approx(sum(steps) + 1 / p.worker_runs)


def test_a_video_alone_takes_the_sum_of_its_steps() -> None:
    around = around_speech(10, PLAIN).seconds
    hears = window(600, machines()["media"], PLAIN).seconds
    renders = render(30, machines()["media"], PLAIN).seconds
    # The run of the video, that which prepares it, its one window, and its short.
    steps = 4 * START + around + hears + renders
    assert seconds_alone(Video(10, 1, 30), PLAIN) == pytest.approx(steps)


def test_the_windows_of_a_video_are_transcribed_at_the_same_time() -> None:
    one, six = (seconds_alone(Video(minutes, 1, 30), PLAIN) for minutes in (10, 60))
    fetched = [around_speech(m, PLAIN).seconds for m in (10, 60)]
    # The worker submits the other five one after the other.
    assert six - one == pytest.approx(fetched[1] - fetched[0] + 5 / PLAIN.worker_runs)


@pytest.mark.parametrize(
    ("spot", "vcpu", "gb"),
    # Ten machines are at most half of the quota; 16 vCPU have at least 32 GB, 8 at least 16.
    [(1000, 16, 32), (319, 8, 16), (159, 4, 8)],
)
def test_a_slow_model_is_heard_by_larger_machines_if_the_quota_allows_it(
    spot: int, vcpu: int, gb: int
) -> None:
    p = replace(large_model(AT_ONCE), spot_vcpu=spot)
    # 20 minutes in ten windows of 120 s, each of which takes 8 CPU-seconds a second.
    heard = 120 * 8 / vcpu + 120 * p.sound_mbit / 8 / p.s3_mb
    start = START - 1 / PLAIN.worker_runs
    renders = render(30, machines()["media"], p).seconds
    done = simulate(Video(20, 1, 30), iter([0.0]), p, seed=1)
    alone = 4 * start + around_speech(20, p).seconds + heard + renders
    assert done.seconds == pytest.approx([alone], abs=1e-3)
    # At least a minute is paid; the short is made on a machine of the pool.
    windows, short = (max(60, p.pull + p.process_start + it) for it in (heard, renders))
    used = done.world.used()
    assert used.spot_vcpu == pytest.approx(10 * windows * vcpu + short * 4, abs=0.1)
    assert used.spot_gb == pytest.approx(10 * windows * gb + short * 8, abs=0.1)


@pytest.mark.parametrize(("segments", "cap", "waves"), [(7, 1, 7), (100, 10, 10), (11, 10, 2)])
def test_segments_are_cut_in_waves_of_the_limit(segments: int, cap: int, waves: int) -> None:
    p = replace(AT_ONCE, children_at_once=cap)
    start = START - 1 / PLAIN.worker_runs
    begin = BEGIN - 1 / PLAIN.worker_runs
    steps = [EVENT_DELAY, begin, start, stitch(segments, p).seconds]
    expected = sum(steps) + waves * (start + extract(1, machines()["media"], p).seconds)
    assert seconds_alone(Clip(segments), p) == pytest.approx(expected, abs=1e-3)


def test_a_pool_limit_of_one_applies_to_all_clips_together() -> None:
    p = replace(AT_ONCE, pool_limit=1)
    done = simulate(Clip(4), iter([0.0, 0.0]), p, seed=1)
    child = START - 1 / PLAIN.worker_runs + extract(1, machines()["media"], p).seconds
    assert max(done.seconds) > 8 * child
    assert done.world.pool.busy == pytest.approx(8 * child, abs=1e-3)


def test_every_clip_ends_and_releases_its_resources() -> None:
    p = replace(SPREAD, spot_losses=20, spot_vcpu=80, pool_limit=15)
    done = busy_day(Clip(12), 2000, 100, p, seed=3)
    world = done.world
    assert len(done.seconds) == 100
    assert world.submitted["orchestrate"] == 200
    # Lost runs are submitted once more.
    assert 1200 < world.submitted["media"] == world.launches["FARGATE_SPOT"].taken < 1600
    for gate in (world.pool, *world.vcpu.values()):
        assert gate.free == gate.size and gate.busy > 0


def test_a_seed_determines_the_simulated_day() -> None:
    first, again, other = (busy_day(Clip(3), 500, 40, Parameters(), seed) for seed in (1, 1, 2))
    assert first.seconds == again.seconds and first.used() == again.used()
    assert first.seconds != other.seconds


def test_clips_arrive_at_the_configured_rate_and_mostly_in_busy_hours() -> None:
    p = Parameters()
    times = list(islice(arrivals(1000, p, seed=5), 20_000))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(20 * DAY, rel=0.03)
    busy = sum(time % DAY < p.busy_hours * 3600 for time in times) / len(times)
    assert busy == pytest.approx(p.busy_hours * p.peak_factor / 24, abs=0.02)
    with pytest.raises(ValueError, match="6 busy hours"):
        next(arrivals(1000, replace(p, peak_factor=5), seed=1))


def test_a_busy_day_uses_the_predicted_capacity() -> None:
    p, clip, a_day = replace(SPREAD, peak_factor=1), Clip(5), 3000
    done = busy_day(clip, a_day, 300, p)
    lasted = 300 * DAY / a_day
    [quota] = [limit for limit in limits(clip, p) if limit.name == "Spot vCPU quota"]
    used = done.world.vcpu["FARGATE_SPOT"].busy / lasted / p.spot_vcpu
    assert used == pytest.approx(quota.filled(a_day, p), rel=0.15)


def test_arrivals_beyond_a_limit_queue_up() -> None:
    p, clip = replace(SPREAD, spot_vcpu=40), Clip(5)
    [quota] = [limit for limit in limits(clip, p) if limit.name == "Spot vCPU quota"]
    within, beyond = quota.jobs_a_day(p) / 2, quota.jobs_a_day(p) * 2
    assert not overflows(clip, within, p) and overflows(clip, beyond, p)
    calm, crowded = (busy_day(clip, a_day, 150, p).seconds for a_day in (within, beyond))
    assert sum(calm[-30:]) < 1.5 * sum(calm[:30])
    assert sum(crowded[-30:]) > 3 * sum(crowded[:30])


def test_frequent_polling_slows_the_api_without_stopping_it() -> None:
    often = replace(Parameters(), poll_ms=6000, poll_seconds=1)
    [slow], [fast] = (
        simulate(Clip(10), iter([0.0]), p, seed=1).seconds for p in (often, Parameters())
    )
    assert fast + 60 < slow < fast + 1000


def test_events_and_listeners_of_all_jobs_limit_each_other() -> None:
    p = Parameters()
    limit = Limit("any", needed=0.5, available=1, mutual=0.5)
    # 0.5 · 1 + 0.5 · 1² = 1
    assert limit.jobs_a_day(p) == pytest.approx(DAY / 3)
    assert limit.filled(2 * DAY / 3, p) == pytest.approx(0.5 * 2 + 0.5 * 4)
    quiet, loud = (
        limits(Clip(10), replace(p, event_ms=ms))[0].jobs_a_day(p) for ms in (0, p.event_ms)
    )
    assert loud < quiet


def test_the_price_of_an_hour_of_the_documents_machine() -> None:
    # 16 · 0.04048 + 64 · 0.004445
    assert cost(document.MACHINE.used(3600), Prices()) == pytest.approx(0.93216)


def test_a_bill_equals_a_manual_calculation() -> None:
    used = Usage(spot_vcpu=4 * 1800, spot_gb=8 * 1800, s3_puts=3000, log_gb=0.1, nat_gb=2)
    # 4 · 0.5 · 0.012144 + 8 · 0.5 · 0.0013335 + 3 · 0.005 + 0.1 · 0.5 + 2 · 0.045
    assert cost(used, Prices()) == pytest.approx(0.024288 + 0.005334 + 0.015 + 0.05 + 0.09)
    assert bill(used, Prices())["s3_puts"] == pytest.approx(0.015)
    assert cost(used + used, Prices()) == pytest.approx(cost(used * 2, Prices()))


def test_fargate_bills_at_least_a_minute_and_disk_above_20_gb() -> None:
    spot = SimulatedMachine("any", "FARGATE_SPOT", 4, 8, 50)
    assert spot.used(10) == spot.used(60) == Usage(spot_vcpu=240, spot_gb=480, disk_gb=1800)
    assert SimulatedMachine("any", "FARGATE", 1, 2, 0).used(90) == Usage(
        fargate_vcpu=90, fargate_gb=180
    )


def test_larger_jobs_cost_more() -> None:
    p = Parameters()
    for jobs in (
        [Clip(segments) for segments in (1, 2, 5, 10, 40)],
        [Video(minutes, 5, 60) for minutes in (10, 30, 90)],
        [Video(30, shorts, 60) for shorts in (1, 5, 20)],
    ):
        costs = [mean_job(job, p)[1] for job in jobs]
        assert costs == sorted(costs) and costs[0] < costs[-1]
    assert mean_job(Clip(5), replace(p, nat_share=1))[1] > 10 * mean_job(Clip(5), p)[1]


def test_the_documents_times_are_the_sum_of_its_steps_and_its_price_exceeds_the_list_price() -> (
    None
):
    parent, child = document.PARENT_MINUTES, document.CHILD_MINUTES
    assert parent + document.SHORTS * child == document.ONE_BY_ONE_MINUTES
    assert parent + child == document.AT_ONCE_MINUTES
    # 70 minutes of 0.93216 an hour
    assert document.list_price(Prices()) == pytest.approx(1.08752)
    minutes = document.minutes(Parameters())
    same = prepare(minutes, machines()["prepare"], Parameters())
    assert same.seconds == pytest.approx(60 * parent)


def test_an_unsatisfiable_request_is_reported() -> None:
    with pytest.raises(ValueError, match="16 of 8 vCPU of FARGATE"):
        seconds_alone(Video(30, 5, 60), replace(PLAIN, on_demand_vcpu=8))
    # Each run holds one vCPU while it waits for sixteen.
    with pytest.raises(ValueError, match="wait for each other"):
        simulate(Video(30, 5, 60), (0.0 for _ in range(8)), replace(PLAIN, on_demand_vcpu=20), 1)
    with pytest.raises(ValueError, match="s3_mb cannot be 0"):
        replace(PLAIN, s3_mb=0)


def test_requests_are_served_in_order_of_arrival() -> None:
    env, went = Environment(), list[str]()
    quota = Quota(env, 2)

    def user(name: str, units: int, seconds: float) -> Process:
        yield from quota.acquire(units)
        went.append(name)
        yield env.timeout(seconds)
        quota.release(units)

    for name, units in (("one", 1), ("both", 2), ("one more", 1)):
        env.process(user(name, units, 10))
    env.run()
    assert went == ["one", "both", "one more"] and env.now == 30 and quota.busy == 40


def test_servers_work_in_order_and_tokens_are_refilled_at_their_rate() -> None:
    line = ServerQueue(2)
    assert [line.wait(0, 3) for _ in range(5)] == [3, 3, 6, 6, 9]
    assert line.wait(100, 1) == 1 and line.busy == 16
    bucket = TokenBucket(rate=2, burst=3)
    assert [bucket.wait(0) for _ in range(5)] == [0, 0, 0, 0.5, 1]
    assert bucket.wait(60) == 0


def test_every_number_has_a_source() -> None:
    sources = ("measured", "documented: ", "the product: ", "assumed")
    for each in fields(Parameters):
        assert each.metadata["source"].startswith(sources), each.name
    assert [each.name for each in fields(Prices)] == [each.name for each in fields(Usage)]


def test_product_settings_equal_those_of_the_product() -> None:
    p, timings = Parameters(), Timings()
    assert (p.poll_seconds, p.owner_check_seconds) == (
        children.LISTENING_POLL_SECONDS,
        recovery.OWNER_CHECK_SECONDS,
    )
    assert p.bridge_poll == timings.poll and p.bridge_events == prefect_server.PAGE / 5
    assert p.children_at_once == Limits.model_fields["max_parallel_segments"].default
    assert p.machine_cpu_seconds == Limits.model_fields["machine_cpu_seconds"].default
    assert p.s3_request_mb == LARGEST >> 20
    worker = capacity.WorkerSettings()
    assert (p.spot_timeout, p.capacity_wait) == (worker.spot_timeout, worker.capacity_wait)
    assert p.observers == 1
    assert {kind: machine.vcpu for kind, machine in machines().items()} == {
        "begin": 0.25,
        "marks": 0.5,
        "media": 4,
        "orchestrate": 1,
        "prepare": 16,
        "prepare-gpu": 4,
    }


def test_other_inputs_are_reported_with_their_bill() -> None:
    lines = list(report(Clip(7), 300, 20, Parameters(), seed=2))
    usd = [float(line.split()[0][1:]) for line in lines if " × $" in line]
    [whole] = [float(line.split()[0][1:]) for line in lines if " a job, and " in line]
    assert sum(usd) == pytest.approx(whole, abs=1e-5)


def test_the_text_of_the_page_has_the_numbers_of_its_tables() -> None:
    text, p = " ".join(PAGE.read_text(encoding="utf-8").split()), Parameters()
    *_, plain, gpu = ways(p)
    assert f"takes {plain.minutes:.0f} minutes without a GPU and {gpu.minutes:.0f} with one" in text
    assert f"for ${plain.usd:.2f} and ${gpu.usd:.2f}. The document itself gives 30 minutes" in text
    for spot, words in (
        (1000, "as is assumed for the document, it takes"),
        (160, "with 160 it has 8, and the video takes"),
        (159, "with less it has the pool's 4, and the video takes"),
    ):
        minutes, usd = mean_job(document.video(p), replace(large_model(p), spot_vcpu=spot))
        assert f"{words} {minutes:.0f} minutes and ${usd:.2f}" in text
    assert f"The comparison assumes {document.minutes(p):.0f} minutes" in text
    by_tasks, warm = limits(Clip(10), p)[0], server_clips(Clip(10, "warm"), p)
    assert by_tasks.name.startswith("Prefect")
    spoken = (spaced(round(clips, -2)) for clips in (by_tasks.jobs_a_day(p), warm))
    assert "about {} clips of 10 segments a day by tasks, or {} on warm".format(*spoken) in text


def test_the_text_of_the_guide_has_the_numbers_of_the_simulation() -> None:
    text, p = " ".join((ROOT / "docs" / "aws.md").read_text().split()), Parameters()
    assert f"costs ${machine_usd(p):.2f} a day" in text
    tasks, warm = (simulate(Clip(10, way), iter([0.0]), p, 1).world for way in ("tasks", "warm"))
    requests = tasks.calls + tasks.reads + tasks.polled / p.poll_seconds
    assert f"about {round(requests, -1):.0f} by tasks, or {warm.calls:.0f} on" in text
    [team] = [(one, other) for plan, one, other in plans(p) if plan.name == "Team"]
    by_tasks, on_warm = (clips / 24 * p.peak_factor for clips in team)
    assert f"enough for about {spaced(round(by_tasks, -2))} clips" in text
    assert f"or {spaced(round(on_warm, -2))} on warm machines" in text


@pytest.mark.slow
def test_the_tables_of_the_page_match_the_current_simulation() -> None:
    made = "make them with python -m benchmarks.simulation --page"
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert filled(text, Parameters()) == text, made
    assert PAGE.read_text(encoding="utf-8").count("<!-- made: ") == 13
    assert PLOT.read_bytes().startswith(b"\x89PNG")


def test_scale_is_a_topic_of_the_benchmarks_and_needs_no_media(tmp_path: Path) -> None:
    sources, bucket = Sources(tmp_path / "none", QUICK), Warehouse(tmp_path / "none", "no address")
    assert "scale" in TOPICS
    found = topics(sources, bucket, rounds=1)["scale"]()
    assert {finding.name.partition("/")[0] for finding in found} == {"scale"}
    assert len(found) == 6 and not any(finding.missed for finding in found)
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_standing_costs_is_up_to_date() -> None:
    remedy = "python -m benchmarks.simulation.standing"
    assert standing.table() in (ROOT / "docs" / "aws.md").read_text(), remedy


def test_the_largest_standing_costs_equal_the_price_list() -> None:
    usd = {part.what: part.usd for part in [*standing.parts(), *standing.server()]}
    # Four tasks of half a vCPU and 1 GB for a day: 4 * 24 * (0.5 * 0.04048 + 0.004445).
    assert usd["4 workers of 0.5 vCPU and 1 GB"] == pytest.approx(2.3698, abs=1e-4)
    assert usd["a NAT gateway with its address"] == pytest.approx(1.20)
    # Two containers of the API for a day: 2 * 24 * (0.04048 + 2 * 0.004445), and the services.
    assert usd[next(what for what in usd if what.startswith("Prefect: 2 APIs"))] == pytest.approx(
        2.3698 + 24 * (0.5 * 0.04048 + 0.004445), abs=1e-4
    )
    assert sum(usd.values()) == pytest.approx(11.93, abs=0.01)


@given(
    count=st.integers(1, 300),
    segments=st.integers(1, 40),
    on_demand=st.integers(21, 1000),
    spot=st.integers(21, 1000),
    drought=st.floats(0, 3600),
    rate=st.floats(0.05, 20),
)
@example(count=2, segments=10, on_demand=30, spot=40, drought=0, rate=20)
@example(count=40, segments=10, on_demand=30, spot=40, drought=0, rate=20)
@example(count=1000, segments=10, on_demand=30, spot=40, drought=600, rate=0.5)
@settings(max_examples=40)
def test_any_number_of_clips_at_once_is_made_with_any_quotas_and_without_spot(
    count: int, segments: int, on_demand: int, spot: int, drought: float, rate: float
) -> None:
    """Of RunTask, so many calls a second are accepted: the least number is a strict throttle."""
    runs = capacity.limits(work_pools(gpu=False, environment={}), on_demand, spot).runs
    account = replace(
        Parameters(),
        on_demand_vcpu=on_demand,
        spot_vcpu=spot,
        pool_limit=runs["media"],
        spot_away=drought,
        runtask_rate=rate,
    )
    done = simulate(Clip(segments), iter([0.0] * count), account, seed=1)
    assert len(done.seconds) == count
    if (count, segments, on_demand, spot) == (40, 10, 30, 40):
        # Ten machines at once take the segments one after another.
        assert max(done.seconds) > (count / 2) * min(done.seconds) / 10


def test_without_spot_a_clip_waits_for_five_minutes_and_is_then_made_on_demand() -> None:
    p = Parameters()
    usual = simulate(Clip(10), iter([0.0]), p, seed=1)
    away = simulate(Clip(10), iter([0.0]), replace(p, spot_away=3600), seed=1)
    waited = away.seconds[0] - usual.seconds[0]
    assert p.spot_timeout < waited < p.spot_timeout + 3 * p.capacity_wait
    used = [each.world.used() for each in (usual, away)]
    assert [each.spot_vcpu > 0 for each in used] == [True, False]
    # A drought that is shorter costs no more than its time.
    short = simulate(Clip(10), iter([0.0]), replace(p, spot_away=120), seed=1)
    assert 0 < short.seconds[0] - usual.seconds[0] < 120 + 3 * p.capacity_wait
    assert short.world.used().spot_vcpu > 0
