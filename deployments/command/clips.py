"""`clipflow clips`: clips asked for by an event, as any detector would, and brought here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipflow.domain.clips import BeginClipGeneration
from clipflow.domain.keys import ClipKeys
from clipflow.settings import settings
from deployments.command.answer import Answer
from deployments.command.asked import AskedByEvent
from deployments.command.cuts import Cut
from deployments.command.episode import due_request, put_event, put_track, request_of
from deployments.command.errors import Exit
from deployments.command.following import follow
from deployments.command.jobs import Job
from deployments.command.results import Results, belongings, fetch, near, read_record


def clips_of_file(
    path: Path, cuts: Sequence[Cut], name: str | None, out: Path | None, answer: Answer
) -> None:
    """One clip of a person's file. `out` is where it goes; None leaves it in the bucket."""
    request = request_of(path, cuts, name)
    with answer.busy(f"Uploading {path.name} as episode {request.episode_id}"):
        put_track(path, request.episode_id)
    _make(request, out, answer)


def clips_of_episode(tenant_id: str, episode_id: str, out: Path | None, answer: Answer) -> None:
    """Every clip of an episode that is due; that there is none is no failure."""
    _make(due_request(tenant_id, episode_id), out, answer)


def _make(request: BeginClipGeneration, out: Path | None, answer: Answer) -> None:
    tenant, episode, prefix = request.tenant_id, request.episode_id, settings().key_prefix
    clips = [ClipKeys(tenant, episode, clip.clip_id, prefix) for clip in request.clips or []]
    answer.document |= {"job": "clips", "tenantId": tenant, "episodeId": episode, "clips": []}
    if not clips:
        answer.say(f"Episode {episode} has no clip to make.")
        return
    if out:
        for keys in clips:
            belongings(keys, out).check([f"{keys.clip_id}.mp4", f"{keys.clip_id}.html"])

    def start() -> AskedByEvent:
        answer.document["eventId"] = event_id = put_event(request)
        return AskedByEvent(event_id, clips)

    runs = follow(start, answer)
    told = [_told(Job(runs[keys.clip_id], keys), out) for keys in clips]
    answer.document["clips"] = told
    _show(told, answer)


def _told(job: Job, out: Path | None) -> dict[str, Any]:
    """What became of a clip, for a program; brought to `out`, where it is made."""
    record = read_record(job.keys)
    failure = job.failure(record)
    results = Results([], None) if failure or not out else fetch(job.keys, out, job.name)
    names = ("s3Key", "duration", "resolution", "fileSize")
    return {
        "clipId": job.name,
        "runId": str(job.run.id),
        "state": job.state,
        "file": next((str(file) for file, _ in results.made), None),
        "page": str(results.page) if results.page else None,
        **{name: None if failure else record.get(name) for name in names},
        "failure": failure or None,
    }


def _show(told: Sequence[dict[str, Any]], answer: Answer) -> None:
    made = [clip for clip in told if not clip["failure"]]
    if made:
        rows = [
            (
                near(c["file"]) if c["file"] else c["s3Key"],
                c["duration"],
                c["resolution"],
                f"{c['fileSize'] / 1e6:.1f} MB",
            )
            for c in made
        ]
        answer.table(("file", "length", "picture", "size"), rows)
    for clip in made:
        if clip["page"]:
            answer.say(f"See it: {near(clip['page'])}")
    for clip in told:
        if clip["failure"]:
            answer.fail(Exit.FAILED, f"{clip['clipId']}: {clip['failure']}")
