"""`clipflow shorts`: a person's video goes up, its shorts come down."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipflow.domain.shorts import ShortsConfig
from deployments.command.answer import Answer
from deployments.command.asked import start_shorts
from deployments.command.errors import Exit
from deployments.command.following import follow
from deployments.command.jobs import Job
from deployments.command.results import Results, belongings, fetch, near, read_record
from deployments.command.video import Video


def make_shorts(
    path: Path,
    config: ShortsConfig,
    background: Path | None,
    subtitles: Path | None,
    out: Path,
    force: bool,
    answer: Answer,
) -> None:
    """Upload, run, follow, fetch; what failed is told, and what is made is fetched all the same."""
    video = Video.of(path)
    answer.document |= {"job": "shorts", "name": video.keys.video_id}
    shorts = [f"{path.stem}-{number}.mp4" for number in range(1, config.segment_count + 1)]
    belongings(video.keys, out).check([*shorts, f"{path.stem}.html"])
    with answer.busy(f"Uploading {path.name} as {video.keys.label}"):
        video.put(config, background, subtitles)
    run = follow(lambda: start_shorts(video.keys, force), answer)[video.keys.video_id]
    job = Job(run, video.keys)
    results = fetch(video.keys, out, path.stem)
    _show(results, answer)
    state = run.state
    message = state.message or "" if state else ""
    answer.document |= {"runId": str(run.id), "state": job.state, "message": message}
    if job.has_failed:
        answer.fail(Exit.FAILED, f"{job.state}: {job.failure(read_record(video.keys))}")
    else:
        answer.say(message)


def _show(results: Results, answer: Answer) -> None:
    made = [_short(file, record) for file, record in results.made]
    answer.document |= {"page": str(results.page) if results.page else None, "shorts": made}
    if made:
        columns = ("file", "moment", "score", "title")
        rows = [
            (near(s["file"]), f"{s['start']} – {s['end']}", f"{s['score']:.0f}", s["title"])
            for s in made
        ]
        answer.table(columns, rows)
    if results.page:
        answer.say(f"See them all: {near(results.page)}")


def _short(file: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("index", "s3Key", "start", "end", "title", "why", "duration", "fileSize")
    return {
        "file": str(file),
        "score": float(record["score"]),
        **{name: record.get(name) for name in names},
    }
