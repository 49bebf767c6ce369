"""Make the demo's sample: a talk of three minutes, recorded by two simulated cameras.

    python demo/make_sample.py

Reads `conversation.toml` and writes into `sample/`: `main.mp4` (the programme, both voices),
`guest.mp4` (the guest's camera: only the guest's voice, same timeline) and `conversation.json`
(`[{speaker, startTime, endTime, text}]`, the times of each spoken line as `HH:MM:SS.mmm`).

Needs Python 3.11, any sans font, and an ffmpeg >= 5 with flite (speech), drawtext with fontconfig,
and libx264, such as Debian's. The output is committed, so that nobody else needs these. Run the
script only after a change of the conversation or the picture.
"""

import json
import re
import subprocess
import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parent / "sample"

SPEECH = ("-f", "s16le", "-ar", "16000", "-ac", "1")  # what flite speaks
BYTES_PER_MS = 16 * 2
LEAD_IN_MS, LEAD_OUT_MS, PAUSE_MS = 1000, 1500, 600
# Neutral greys, because a tinted dark area shows visible blocks at this bit rate.
BACKGROUND, RAIL_COLOR, MUTED, TEXT = "0x141414", "0x2b2b2b", "0x868686", "0xf4f4f4"
RAIL = "y=692:h=8:t=fill"
CAPTION_COLUMNS = 42  # all text is in the middle 810 pixels, which a vertical short shows


@dataclass(frozen=True)
class Line:
    """One spoken line: `start` and `end` in milliseconds, and the `sound` of exactly this span."""

    speaker: str
    text: str
    start: int
    end: int
    sound: bytes


@dataclass(frozen=True)
class Track:
    """One camera: its appearance, the speakers whose voices it records, and its encoding."""

    name: str
    about: str
    accent: str
    speakers: list[str]  # the person in front of this camera is the first
    size: str
    frame_rate: int
    keyframe_every: int
    sound_options: list[str]


def quoted(value: str) -> str:
    """The value of a filter option, escaped for the option and quoted for the filter graph."""
    escaped = re.sub(r"([\\':])", r"\\\1", value)
    return "'" + escaped.replace("'", r"'\''") + "'"


def balanced_rows(text: str) -> list[str]:
    """The text in as few rows of `CAPTION_COLUMNS` as possible, of similar lengths."""
    fewest = len(textwrap.wrap(text, CAPTION_COLUMNS))
    widths = range(len(text) // fewest, CAPTION_COLUMNS + 1)
    return next(rows for width in widths if len(rows := textwrap.wrap(text, width)) == fewest)


def speech_arguments(text: str, voice: str, gain_db: float) -> list[str]:
    """The arguments that make ffmpeg speak `text` to stdout, with 40 ms of silence at both ends."""
    trim = "silenceremove=start_periods=1:start_threshold=-50dB:start_silence=0.04"
    speech = f"flite=text={quoted(text)}:voice={voice},volume={gain_db}dB"
    return ["-f", "lavfi", "-i", f"{speech},{trim},areverse,{trim},areverse", *SPEECH, "-"]


def track_sound(track: Track, lines: Sequence[Line], total: int) -> bytes:
    """The speech of the track's speakers in `total` milliseconds, with silence elsewhere."""
    sound = bytearray(total * BYTES_PER_MS)
    for line in lines:
        if line.speaker in track.speakers:
            sound[line.start * BYTES_PER_MS : line.end * BYTES_PER_MS] = line.sound
    return bytes(sound)


def draw(text: str, size: int, color: str, baseline: int, *options: str) -> str:
    """A filter that draws a row of text, centred unless `options` contain an x."""
    look = f"font=sans:fontsize={size}:fontcolor={color}:y={baseline}-max_glyph_a"
    return ":".join((f"drawtext=text={quoted(text)}", look, "x=(w-text_w)/2", *options))


def clock_filters(track: Track) -> list[str]:
    """Filters that draw the running time and the frame number, exact in every frame."""
    rate = track.frame_rate
    units = [f"%{{eif:mod(floor(n/{rate * unit}),60):d:2}}" for unit in (3600, 60, 1)]
    thousandths = f".%{{eif:round(mod(n,{rate})*1000/{rate}):d:3}}"
    return [
        draw(":".join(units), 104, TEXT, 244, "x=w/2+162-text_w"),
        draw(thousandths, 64, TEXT, 244, "x=w/2+164"),
        draw("frame %{eif:n:d:5}", 40, track.accent, 312),
    ]


def line_filters(line: Line, track: Track, total: int) -> list[str]:
    """Filters that draw the line's part of the rail, and its words while they are spoken.

    The words are dimmed if the track does not have the speaker's voice.
    """
    is_audible, own = line.speaker in track.speakers, line.speaker == track.speakers[0]
    label = line.speaker.upper() + ("" if is_audible else " (not on this track)")
    label_color, text_color = (track.accent, TEXT) if is_audible else (MUTED, MUTED)
    span = f"x=iw*{line.start / total:.5f}:w=iw*{(line.end - line.start) / total:.5f}"
    shown = f"expansion=none:enable='gte(t,{line.start / 1000})*lt(t,{line.end / 1000})'"
    rows = enumerate(balanced_rows(line.text))
    return [
        f"drawbox={RAIL}:{span}:color={track.accent if own else MUTED}",
        draw(label, 28, label_color, 394, shown),
        *(draw(row, 34, text_color, 450 + 46 * index, shown) for index, row in rows),
    ]


def picture_graph(track: Track, lines: Sequence[Line], total: int) -> str:
    """The filter graph of the track's picture: `total` milliseconds of 1280x720, then scaled."""
    clip = f"rate={track.frame_rate}:duration={total / 1000}"
    pill = f"box=1:boxcolor={track.accent}:boxborderw=12"
    filters = [
        f"color={BACKGROUND}:size=1280x720:{clip}",
        "format=rgb24",  # drawtext's own colours in YUV are BT.601
        draw(track.name.upper(), 30, BACKGROUND, 76, pill),
        draw(track.about, 24, MUTED, 130),
        *clock_filters(track),
        f"drawbox={RAIL}:color={RAIL_COLOR}",
        *(drawn for line in lines for drawn in line_filters(line, track, total)),
    ]
    progress = f"color={track.accent}:size=1280x6:{clip}"
    placed = f"overlay=x='-w+w*t/{total / 1000}':y=H-h:format=rgb"
    scaled = f"scale=size={track.size}:flags=area:out_color_matrix=bt709:out_range=tv"
    return f"{','.join(filters)}[back];{progress}[bar];[back][bar]{placed},{scaled},format=yuv420p"


def encode_arguments(track: Track, graph: str, target: Path) -> list[str]:
    """The arguments with which ffmpeg encodes the picture of `graph` and the sound on stdin."""
    color = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
    return [
        *(*SPEECH, "-i", "-", "-filter_complex", graph),
        *("-c:v", "libx264", "-preset", "veryslow", "-level", "4.0", "-crf", "35"),
        *("-g", str(track.keyframe_every), "-sc_threshold", "0", *color, "-color_range", "tv"),
        # A wide motion search finds a new digit elsewhere in the picture, which saves a tenth.
        *("-x264-params", "me=umh:merange=64"),
        *("-c:a", "aac", *track.sound_options, "-movflags", "+faststart"),
        *("-fflags", "+bitexact", "-flags", "+bitexact", "-y", str(target)),
    ]


def run_ffmpeg(arguments: Sequence[str], stdin: bytes = b"") -> bytes:
    """Run ffmpeg and return its stdout. Its messages are printed to stderr."""
    command = ["ffmpeg", "-v", "error", *arguments]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def spoken_lines(script: dict[str, Any]) -> list[Line]:
    """Synthesize every line of the script, one after the other."""
    lines: list[Line] = []
    start = LEAD_IN_MS
    for entry in script["line"]:
        speaker, text = entry["speaker"], entry["text"]
        sound = run_ffmpeg(speech_arguments(text, **script["voices"][speaker]))
        sound += bytes(-len(sound) % BYTES_PER_MS)
        end = start + len(sound) // BYTES_PER_MS
        lines.append(Line(speaker, text, start, end, sound))
        start = end + entry.get("pause_ms", PAUSE_MS)
    return lines


def record(line: Line) -> dict[str, str]:
    """The entry of the line in `conversation.json`."""
    start, end = (
        datetime.fromtimestamp(at / 1000, UTC).time().isoformat("milliseconds")
        for at in (line.start, line.end)
    )
    return {"speaker": line.speaker, "startTime": start, "endTime": end, "text": line.text}


def main() -> None:
    script = tomllib.loads(SAMPLE.with_name("conversation.toml").read_text())
    lines = spoken_lines(script)
    # Whole seconds, so that picture and sound of both tracks end together.
    total = -(-(lines[-1].end + LEAD_OUT_MS) // 1000) * 1000
    for track in (Track(**entry) for entry in script["track"]):
        graph = picture_graph(track, lines, total)
        arguments = encode_arguments(track, graph, SAMPLE / f"{track.name}.mp4")
        run_ffmpeg(arguments, stdin=track_sound(track, lines, total))
    records = json.dumps([record(line) for line in lines], indent=2)
    (SAMPLE / "conversation.json").write_text(f"{records}\n")


if __name__ == "__main__":
    main()
