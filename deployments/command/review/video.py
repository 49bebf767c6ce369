"""The data of the review page: a video's shorts, words and edits, and the progress of its runs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from clipflow.domain.caption_styles import STYLE_NAMES
from clipflow.domain.clips import ClipStatus
from clipflow.domain.edits import Edits, corrected, numbered_words
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ShortsKeys
from clipflow.domain.layouts import Layout
from clipflow.domain.removals import Tightening
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.domain.timecode import parse_timecode
from clipflow.domain.transcript import Transcript, joined
from clipflow.jobs.brand import part_seconds
from clipflow.jobs.edits import StoredEdits, store_edits, stored_edits, with_edits
from clipflow.jobs.posts import with_texts
from clipflow.jobs.shorts import read_config
from clipflow.jobs.tighten import stored_tightening
from clipflow.results.pages import UNCERTAIN
from clipflow.storage.objects import ObjectHead, ObjectStore
from deployments.command.edit import moments_and_transcript, stale_edits
from deployments.command.files import read_record
from deployments.command.follow import start_shorts
from deployments.command.prefect_api import JobRun, steps_of


@dataclass(frozen=True)
class ReviewedVideo:
    """One video whose shorts are edited on the page."""

    keys: ShortsKeys
    objects: ObjectStore

    def state(self) -> dict[str, Any]:
        """Everything that the page shows, as JSON."""
        moments, transcript = moments_and_transcript(self.keys, self.objects)
        stored = stored_edits(self.keys, self.objects)
        config = read_config(self.keys, self.objects)
        record = read_record(self.keys)
        return {
            "name": self.keys.video_id,
            "language": transcript.language,
            "words": [
                [word.text, word.start, word.end, _is_uncertain(word.score)]
                for word in transcript.words
            ],
            "shorts": [self._short(moment, record) for moment in moments],
            "layouts": list(Layout),
            "styles": _styles(config, stored.edits),
            "config": config.model_dump(
                mode="json", by_alias=False, include={"layout", "caption_style", "tighten"}
            ),
            "hasSource": self.objects.head(self.keys.original) is not None,
            "run": _running(record),
            **self._edited(stored, moments, transcript),
        }

    def edits(self) -> dict[str, Any]:
        """The stored edits, with the times of the shorts and the words that result from them."""
        moments, transcript = moments_and_transcript(self.keys, self.objects)
        return self._edited(stored_edits(self.keys, self.objects), moments, transcript)

    def save(self, document: object, etag: str | None) -> dict[str, Any]:
        """Store the edits in place of those with this ETag, and return the same as `edits`.

        Raises InvalidInputError, which names the field, and EditConflictError.
        """
        edits = Edits.read(document, "edits.json")
        moments, transcript = moments_and_transcript(self.keys, self.objects)
        unknown = set(edits.shorts) - {moment.id for moment in moments}
        if unknown - set(stored_edits(self.keys, self.objects).edits.shorts):
            raise InvalidInputError(f"There is no short {', '.join(sorted(unknown))}.")
        # Refuses a span that is out of bounds before it is stored.
        with_edits(moments, edits, transcript.words, "edits.json")
        etag = store_edits(self.keys, edits, etag, self.objects)
        return self._edited(StoredEdits(edits, etag), moments, transcript)

    def start_run(self) -> str:
        """Start a run that makes the changed shorts; returns its id."""
        return str(start_shorts(self.keys, force=False).run_id)

    def progress(self, run_id: UUID) -> dict[str, Any]:
        """The state of a run and its steps. Raises InvalidInputError if Prefect has no such run."""
        with get_client(sync_client=True) as client:
            try:
                run = client.read_flow_run(run_id)
            except ObjectNotFound:
                raise InvalidInputError(
                    f"Prefect has no run {run_id}.", "Render again to make the shorts."
                ) from None
            steps = steps_of(client, [run_id])
        job = JobRun(run, self.keys)
        is_over = run.state is not None and run.state.is_final()
        failure = job.failure(read_record(self.keys)) if job.has_failed else ""
        message = failure or (run.state.message if run.state else "") or ""
        return {
            "state": job.state,
            "isOver": is_over,
            "hasFailed": job.has_failed,
            "message": message,
            "steps": [
                {"name": step.name, "isOver": step.is_over, "progress": step.progress}
                for step in steps
                if step.is_over or step.is_running
            ],
        }

    def short_key(self, number: int) -> str:
        return self.keys.short(number)

    def _short(self, moment: Moment, record: Mapping[str, Any]) -> dict[str, Any]:
        """A short as it was chosen, with the status and the times of its last rendering."""
        values = moment.model_dump(mode="json", include={"id", "index", "title", "why", "score"})
        rendered = next((s for s in record.get("shorts", []) if s.get("id") == moment.id), None)
        head = self.objects.head(self.keys.short(moment.index or 0)) if rendered else None
        is_made = rendered is not None and head is not None and "fileSize" in rendered
        return {
            **values,
            "status": rendered and rendered["status"],
            "error": rendered and rendered.get("error"),
            "video": f"media/short/{moment.index}?v={head.etag}" if head and is_made else None,
            "rendered": [_seconds(rendered[name]) for name in ("start", "end")]
            if rendered and is_made
            else None,
            # Seconds before the moment begins in the video.
            "intro": part_seconds(head)[0] if head else 0,
            "tightening": self._tightening(moment, rendered, head) if rendered and head else None,
        }

    def _tightening(
        self, moment: Moment, rendered: Mapping[str, Any], head: ObjectHead
    ) -> dict[str, Any] | None:
        """What is taken out of the rendered short, and what was put back; None if it is not
        tightened."""
        listed = rendered.get("tightening")
        if listed is None:
            return None
        whole = Tightening.model_validate(listed)
        if whole.seconds and not whole.removed:
            # The record has no room for the list.
            found = stored_tightening(self.keys, moment.index or 0, head, self.objects)
            whole = found or whole
        return whole.model_dump(mode="json")

    def _edited(
        self, stored: StoredEdits, chosen: Sequence[Moment], transcript: Transcript
    ) -> dict[str, Any]:
        moments = with_edits(chosen, stored.edits, transcript.words, self.keys.edits)
        return {
            "edits": stored.edits.document(),
            "etag": stored.etag,
            "times": {moment.id: [float(moment.start), float(moment.end)] for moment in moments},
            "texts": _chosen_texts(chosen, stored.edits, transcript),
            "shown": _shown(transcript, stored.edits),
            "stale": stale_edits(stored.edits, transcript),
        }


def _styles(config: ShortsConfig, edits: Edits) -> list[str]:
    """The styles to choose from: the included ones, and those that the video uses."""
    used = [config.caption_style, *(edit.caption_style for edit in edits.shorts.values())]
    return [*STYLE_NAMES, *dict.fromkeys(s for s in used if s and s not in STYLE_NAMES)]


def _chosen_texts(
    chosen: Sequence[Moment], edits: Edits, transcript: Transcript
) -> dict[str, dict[str, Any]]:
    """Title, description and hashtags of each short without those that a person has written."""
    spans = {
        id: edit.model_copy(update={"title": None, "description": None, "hashtags": None})
        for id, edit in edits.shorts.items()
    }
    own = edits.model_copy(update={"shorts": spans})
    moments = with_texts(with_edits(chosen, own, transcript.words, "edits.json"), own, transcript)
    return {
        moment.id or "": moment.model_dump(
            mode="json", include={"title", "description", "hashtags"}
        )
        for moment in moments
    }


def _running(record: Mapping[str, Any]) -> str | None:
    """The run that is making the shorts now, if there is one."""
    is_running = record.get("status") == ClipStatus.IN_PROGRESS
    return str(record["flowRunId"]) if is_running else None


def _shown(transcript: Transcript, edits: Edits) -> dict[int, str]:
    """The displayed text of each word that differs from the recognised one, by its number."""
    found: dict[int, list[Any]] = defaultdict(list)
    for number, word in numbered_words(corrected(transcript, edits)):
        found[number].append(word)
    texts = {number: joined(words) for number, words in found.items()}
    return {
        number: texts.get(number, "")
        for number, word in enumerate(transcript.words)
        if texts.get(number, "") != word.text
    }


def _is_uncertain(score: float | None) -> bool:
    return score is not None and score < UNCERTAIN


def _seconds(time: str) -> float:
    return float(parse_timecode(time))
