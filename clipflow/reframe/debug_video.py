"""A video that shows why a short is framed as it is: the source with faces and crops drawn."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from clipflow.domain.edits import View
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.transcript import Word
from clipflow.media.isolation import isolated
from clipflow.reframe.analysis import Film, analyze, decoded_frames
from clipflow.reframe.crop import FramePlan, Section
from clipflow.reframe.director import direct
from clipflow.reframe.faces import Face, FaceDetector, Pixels
from clipflow.reframe.mouths import Motion, mouth_activity
from clipflow.reframe.people import FaceTrack, Shot, find_people
from clipflow.reframe.speakers import Turn, find_speakers

# In blue, green and red: the active speaker's face, another's, and a crop.
SPEAKER, OTHER, CROP = (0, 220, 255), (255, 160, 60), (80, 230, 80)
# Pixels: the picture's longer side, and the thickness of a line.
_LONGEST, _LINE = 1280, 3
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.6
# Seconds for which a face is drawn where it was last seen, and over which activity is averaged.
_SEEN, _AROUND = 0.3, 0.3
_TIMESCALE = 90_000


def write_debug_video(
    film: Film,
    path: Path,
    layout: Layout,
    aspect: Aspect,
    words: Sequence[Word],
    face_model: Path | None = None,
    mouth_model: Path | None = None,
    views: Sequence[View] = (),
) -> FramePlan:
    """Writes `film` with its faces and crops drawn to `path`, as H.264 in MP4 without sound.

    A box around each face has the person's number and the mouth's activity, as a share of that at
    which a mouth speaks; the active speaker's is yellow. Crops are green boxes. Returns the plan.
    Words and `views` have their times from the film's first frame. Raises what `plan_frames`
    raises.
    """
    arguments = film, path, layout, aspect, words, face_model, mouth_model, views
    return isolated(film.label, _write_debug_video, *arguments)


def _write_debug_video(
    film: Film,
    path: Path,
    layout: Layout,
    aspect: Aspect,
    words: Sequence[Word],
    face_model: Path | None,
    mouth_model: Path | None,
    views: Sequence[View],
) -> FramePlan:
    mouths = mouth_activity(mouth_model)
    analysis = analyze(film, FaceDetector(face_model))
    plan = direct(analysis, layout, aspect, words, mouths, views)
    shots = find_people(analysis)
    turns = find_speakers(shots, words, mouths)
    activity = {track: mouths(track) for shot in shots for track in shot.tracks}
    ratio = min(1.0, _LONGEST / max(analysis.width, analysis.height))
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", options={"preset": "veryfast", "crf": "23"})
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TIMESCALE)
        stream.width, stream.height = (
            int(side * ratio) // 2 * 2 for side in (analysis.width, analysis.height)
        )
        for time, frame in decoded_frames(film):
            picture = film.scaled(frame, ratio)
            _draw_crops(picture, plan, time, ratio)
            for track, face in _faces_at(shots, time):
                speaks = any(t.track and _is_same(t, track, time) for t in turns)
                level = _activity_at(activity[track], time) / mouths.speaking
                _draw_face(picture, face.scaled(ratio), track.person, level, speaks=speaks)
            drawn = av.VideoFrame.from_ndarray(picture, "bgr24")
            drawn = drawn.reformat(stream.width, stream.height)
            drawn.pts, drawn.time_base = round(time * _TIMESCALE), stream.time_base
            container.mux(stream.encode(drawn))
        container.mux(stream.encode())
    return plan


def _faces_at(shots: Sequence[Shot], time: float) -> Iterator[tuple[FaceTrack, Face]]:
    for shot in shots:
        if shot.start <= time <= shot.end:
            for track in shot.tracks:
                if track.times[0] - _SEEN <= time <= track.times[-1] + _SEEN:
                    yield track, track.nearest(time)


def _is_same(turn: Turn, track: FaceTrack, time: float) -> bool:
    # Two searches for people make tracks of their own, so persons and times are compared.
    assert turn.track
    same = turn.track.person == track.person and turn.track.times[0] == track.times[0]
    return same and turn.start <= time < turn.end


def _activity_at(motion: Motion, time: float) -> float:
    near = [value for at, value in motion if abs(at - time) <= _AROUND]
    return float(np.mean(near)) if near else 0.0


def _draw_face(picture: Pixels, face: Face, person: int, level: float, *, speaks: bool) -> None:
    color = SPEAKER if speaks else OTHER
    left, top, right, bottom = map(round, face.box)
    cv2.rectangle(picture, (left, top), (right, bottom), color, _LINE)
    text = f"person {person + 1}: {level:.2f}"
    cv2.putText(picture, text, (left, max(16, top - 8)), _FONT, _SIZE, (0, 0, 0), 4)
    cv2.putText(picture, text, (left, max(16, top - 8)), _FONT, _SIZE, color, 1)


def _draw_crops(picture: Pixels, plan: FramePlan, time: float, ratio: float) -> None:
    section = _section_at(plan, time)
    for crop in section.crops:
        left, top = crop.at(time)
        first, last = (
            (round(x * ratio), round(y * ratio))
            for x, y in ((left, top), (left + crop.width - 1, top + crop.height - 1))
        )
        cv2.rectangle(picture, first, last, CROP, _LINE)
    cv2.putText(picture, section.layout, (10, 28), _FONT, 0.8, (0, 0, 0), 5)
    cv2.putText(picture, section.layout, (10, 28), _FONT, 0.8, CROP, 2)


def _section_at(plan: FramePlan, time: float) -> Section:
    return next((part for part in plan.sections if time < part.end), plan.sections[-1])
