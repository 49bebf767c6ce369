"""The name, tag and parameters of each child run, and the requests that are read back from them.

`tasks.children` starts the child runs, and the flows in `flows/` read their parameters.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from prefect import runtime
from pydantic import TypeAdapter

from clipflow.domain.clips import ExtractInput
from clipflow.domain.edits import View
from clipflow.domain.keys import ClipKeys, RecordKeys, ShortsKeys
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.jobs.clips import Cut, CutGroup
from clipflow.jobs.fingerprints import fingerprint
from clipflow.jobs.render import Render, RenderGroup
from clipflow.jobs.segment import SegmentPlan
from clipflow.jobs.transcription import SpeechWindow
from tasks.flow_runs import TRANSCRIBE_WINDOW

EXTRACT = "extract-segment/clipflow"
EXTRACT_GROUP = "extract-segments/clipflow"
RENDER = "render-short/clipflow"
RENDER_GROUP = "render-shorts/clipflow"
PREPARE = "prepare-video/clipflow"
TRANSCRIBE = f"{TRANSCRIBE_WINDOW}/clipflow"
# Prefect 3.8.8 stores at most 524,288 bytes of parameters for a run, which has others too.
_MAX_PARTS_BYTES = 400_000
Item = TypeVar("Item")
_plans = TypeAdapter(SegmentPlan)
_windows = TypeAdapter(SpeechWindow)


@dataclass(frozen=True)
class Child:
    """One part of the work on `record`, which a separate flow run does.

    Attributes:
        deployment: `flow/deployment`.
        name: the run's name in the UI.
        part: identifies the part and its inputs; equal for equal work.
        once: whether a completed run of this part is never repeated.
        parameters: the flow's parameters as JSON.
    """

    deployment: str
    name: str
    record: RecordKeys
    part: str
    once: bool
    parameters: dict[str, Any]

    @property
    def tag(self) -> str:
        """The tag of every run of this part."""
        return f"{record_tag(self.record)}/{self.part}"


def record_tag(record: RecordKeys) -> str:
    """The tag of every child run of the record, whichever run started it."""
    return "/".join(record.record.values())


def extract_child(group: CutGroup, force: bool) -> Child:
    """The child run that cuts segments, with the plan of the clip's run.

    The plan is passed as a parameter, because a new plan could have a different format: the source
    may be replaced meanwhile, and the format depends on all sources of the clip.
    """
    first = group.cuts[0].request
    clip = {
        "tenant_id": first.tenant_id,
        "episode_id": first.episode_id,
        "clip_id": first.clip_id,
    }
    cuts = [_cut_parameters(cut) for cut in group.cuts]
    is_alone = len(cuts) == 1
    return Child(
        deployment=EXTRACT if is_alone else EXTRACT_GROUP,
        name=f"{first.clip_id} {group.label}",
        record=ClipKeys(**clip),
        part=f"segment-{first.index}-{group.fingerprint}{_forced_suffix(force)}",
        once=force,
        parameters={**clip, **(cuts[0] if is_alone else {"cuts": cuts}), "force": force},
    )


def within_limit(group: CutGroup) -> list[CutGroup]:
    """The group in parts that each fit into the parameters of one child run."""
    return [CutGroup(part) for part in _within_limit(group.cuts, _cut_parameters)]


def renders_within_limit(group: RenderGroup) -> list[RenderGroup]:
    """As `within_limit`."""
    return [RenderGroup(part) for part in _within_limit(group.renders, _render_parameters)]


def _within_limit(
    items: Sequence[Item], parameters: Callable[[Item], dict[str, Any]]
) -> Iterator[tuple[Item, ...]]:
    part: list[Item] = []
    size = 0
    for item in items:
        added = len(json.dumps(parameters(item)))
        if part and size + added > _MAX_PARTS_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += added
    yield tuple(part)


def _cut_parameters(cut: Cut) -> dict[str, Any]:
    return {
        "segment": cut.request.segment.model_dump(mode="json", exclude_none=True),
        "index": cut.request.index,
        "plan": _plans.dump_python(cut.plan, mode="json"),
    }


def cut_of_child(keys: ClipKeys, segment: dict[str, Any], index: int, plan: dict[str, Any]) -> Cut:
    """A cut that `extract_child` has put into the child's parameters."""
    request = {
        "tenant_id": keys.tenant_id,
        "episode_id": keys.episode_id,
        "clip_id": keys.clip_id,
        "segment": segment,
        "index": index,
    }
    return Cut(ExtractInput.model_validate(request), _plans.validate_python(plan))


def render_child(request: Render, force: bool) -> Child:
    """The child run that renders a short."""
    render = _render_parameters(request)
    made_from = fingerprint([render[name] for name in ("config", "moment", "views", "restored")])
    return Child(
        deployment=RENDER,
        name=f"{request.keys.video_id} {request.label}",
        record=request.keys,
        part=f"short-{request.number}-{made_from}{_forced_suffix(force)}",
        once=force,
        parameters={**_video_parameters(request.keys), **render, "force": force},
    )


def render_group_child(group: RenderGroup, force: bool) -> Child:
    """The child run that renders several shorts."""
    keys = group.renders[0].keys
    renders = [_render_parameters(each) for each in group.renders]
    return Child(
        deployment=RENDER_GROUP,
        name=f"{keys.video_id} {group.label}",
        record=keys,
        part=f"shorts-{fingerprint(renders)}{_forced_suffix(force)}",
        once=force,
        parameters={**_video_parameters(keys), "renders": renders, "force": force},
    )


def _video_parameters(keys: ShortsKeys) -> dict[str, Any]:
    return {"user_id": keys.user_id, "video_id": keys.video_id}


def _render_parameters(request: Render) -> dict[str, Any]:
    return {
        "config": request.config.model_dump(mode="json"),
        "number": request.number,
        "moment": request.moment.model_dump(mode="json", exclude_none=True),
        "views": [view.model_dump(mode="json", exclude_none=True) for view in request.views],
        "restored": dict(request.restored),
    }


def render_of_child(
    keys: ShortsKeys,
    config: dict[str, Any],
    number: int,
    moment: dict[str, Any],
    views: list[dict[str, Any]],
    restored: dict[str, str],
) -> Render:
    """The short that `render_child` has put into the child's parameters, or `render_group_child`.
    Raises InvalidInputError."""
    return Render(
        keys,
        ShortsConfig.read(config, "the config"),
        number,
        Moment.read(moment, f"moment {number}"),
        tuple(View.read(view, "a view") for view in views),
        restored,
    )


def prepare_child(keys: ShortsKeys, force: bool) -> Child:
    """The child run that stores a video's transcript, moments and segments."""
    return Child(
        deployment=PREPARE,
        name=f"prepare {keys.video_id}",
        record=keys,
        part=f"prepare{_forced_suffix(force)}",
        once=force,
        parameters={**_video_parameters(keys), "force": force},
    )


def transcribe_child(window: SpeechWindow, force: bool) -> Child:
    """The child run that transcribes a window of a video's audio."""
    return Child(
        deployment=TRANSCRIBE,
        name=f"{window.keys.video_id} window {window.label}",
        record=window.keys,
        part=f"window-{window.number}-{window.made_from}{_forced_suffix(force)}",
        once=force,
        parameters={
            **_video_parameters(window.keys),
            "window": _windows.dump_python(window, mode="json", exclude={"keys"}),
            "force": force,
        },
    )


def window_of_child(keys: ShortsKeys, window: dict[str, Any]) -> SpeechWindow:
    """The window that `transcribe_child` has put into the child's parameters."""
    return _windows.validate_python({**window, "keys": keys})


def _forced_suffix(force: bool) -> str:
    """With `force`, a run makes each part again, but only once, even if the run is restarted."""
    return f"-forced-by-{runtime.flow_run.get_id()}" if force else ""
