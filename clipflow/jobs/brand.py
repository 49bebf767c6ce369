"""The brand of a short: fetches and checks its files, and adds them to ffmpeg's filters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg as command

from clipflow.domain.brands import LONGEST_PART, MAX_LOGO_BYTES, Brand, Corner, Logo
from clipflow.domain.errors import InvalidInputError, MediaRefusedError
from clipflow.domain.safe_zones import Box, safe_box
from clipflow.jobs.segment import open_source
from clipflow.media.branding import RATE, below_speech, fetch_music, read_logo
from clipflow.media.encode import TIMESCALE, audio_filters, input_options, samples, upright
from clipflow.media.fetching import fetch_window
from clipflow.media.loudness import amplified, measure_loudness, normal_loudness, normalize
from clipflow.media.output_format import OutputFormat, convert
from clipflow.media.probe import Colour, Probe, probe_source
from clipflow.media.window import Span, Window
from clipflow.storage.objects import ObjectHead, ObjectStore

# A logo's greatest height, as a share of the picture's, and pixels between it and captions.
_TALLEST, _GAP = 0.15, 16
# The lowest and the highest frame rate of an intro or outro, which otherwise has that of the short.
# If the frame rate of an MP4 falls below that of its beginning, players end before its last frame.
_RATES = 24, 60
_BT709 = Colour(1, 1, 1)
# The names of the durations of intro and outro in the metadata of a short's object.
_INTRO, _OUTRO = "intro-seconds", "outro-seconds"


@dataclass(frozen=True)
class PlacedLogo:
    """A file with one frame, and the part of the picture that it is drawn on."""

    path: Path
    box: Box


@dataclass(frozen=True)
class MusicBed:
    """A file of music, its loudness in LUFS, its level in pauses, and by how many decibels it is
    lower under speech."""

    path: Path
    loudness: float
    level: float
    ducking: float


@dataclass(frozen=True)
class VideoPart:
    """An intro or outro: all of a video, its `normal_loudness`, and its frames a second."""

    window: Window
    probe: Probe
    loudness: float
    rate: int

    @property
    def frame_count(self) -> int:
        return max(1, round(self.window.span.duration * self.rate))

    @property
    def sample_count(self) -> int:
        return samples(self.window.span.duration, RATE)


@dataclass(frozen=True)
class BrandParts:
    """The parts that a brand adds to a short; None for each that it does not have."""

    logo: PlacedLogo | None = None
    music: MusicBed | None = None
    intro: VideoPart | None = None
    outro: VideoPart | None = None

    @property
    def duration(self) -> Fraction:
        """The seconds by which intro and outro make a short longer."""
        parts = [part.window.span.duration for part in (self.intro, self.outro) if part]
        return sum(parts, Fraction(0))

    @property
    def times(self) -> dict[str, str]:
        """The seconds of intro and outro as metadata of the short's object, without those that it
        does not have."""
        parts = {_INTRO: self.intro, _OUTRO: self.outro}
        return {
            name: f"{float(part.window.span.duration):.6f}" for name, part in parts.items() if part
        }

    @property
    def frames(self) -> int:
        """The number of frames of intro and outro."""
        return sum(part.frame_count for part in (self.intro, self.outro) if part)


def fetch_brand(
    brand: Brand,
    heads: Mapping[str, ObjectHead],
    size: tuple[int, int],
    captions: Sequence[Box],
    duration: Fraction,
    frames: int,
    objects: ObjectStore,
    folder: Path,
) -> BrandParts:
    """A brand's files in `folder`, for a short of `size` with `frames` in `duration` seconds.

    `heads` are the objects of its files by their fields; a logo is not over `captions`. Raises
    InvalidInputError, which names the field, for a file that cannot be used, and what
    `probe_source` and `fetch_window` raise.
    """
    logo = music = None
    if brand.logo:
        logo = _logo(brand.logo, heads["logo.file"], size, captions, objects, folder / "logo.nut")
    if brand.music:
        path = folder / "music.nut"
        with _named("music.file"):
            fetch_music(open_source(heads["music.file"], objects), path, duration)
        music = MusicBed(path, measure_loudness(path), brand.music.level, brand.music.ducking)
    rate = min(max(round(frames / duration), _RATES[0]), _RATES[1])
    parts = {
        field: _fetched(field, heads[field], rate, objects, folder / f"{field}.nut")
        for field in ("intro", "outro")
        if field in heads
    }
    return BrandParts(logo, music, parts.get("intro"), parts.get("outro"))


def part_seconds(short: ObjectHead) -> tuple[float, float]:
    """The seconds of the intro and the outro of a stored short; 0 for those it does not have."""
    return float(short.metadata.get(_INTRO, 0)), float(short.metadata.get(_OUTRO, 0))


def check_brand(
    brand: Brand,
    heads: Mapping[str, ObjectHead],
    size: tuple[int, int],
    objects: ObjectStore,
    folder: Path,
) -> None:
    """Reads the beginning of a brand's files, to check that they can be used. Raises the errors of
    `fetch_brand`."""
    without_parts = {
        field: head for field, head in heads.items() if field not in ("intro", "outro")
    }
    fetch_brand(brand, without_parts, size, [], Fraction(1), 25, objects, folder)
    for field in ("intro", "outro"):
        if field in heads:
            _probed(field, heads[field], objects)


def place_logo(
    logo: Logo, size: tuple[int, int], own: tuple[int, int], captions: Sequence[Box]
) -> Box:
    """The place of a logo of `own` pixels in a short of `size`: in its corner of the part that no
    platform covers, and not over `captions`."""
    safe, (width, height) = safe_box(size), own
    is_left = logo.corner in (Corner.TOP_LEFT, Corner.BOTTOM_LEFT)
    is_top = logo.corner in (Corner.TOP_LEFT, Corner.TOP_RIGHT)
    left = safe.left + logo.margin if is_left else safe.right - logo.margin - width
    top = safe.top + logo.margin if is_top else safe.bottom - logo.margin - height
    left, top = _even(left), _even(top)
    for other in captions:
        if Box(left, top, left + width, top + height).overlaps(other):
            top = _even(other.bottom + _GAP if is_top else other.top - _GAP - height)
    return Box(left, top, left + width, top + height)


def _even(place: int) -> int:
    # In 4:2:0, two pixels share one colour sample.
    return place // 2 * 2


def _logo(
    logo: Logo,
    head: ObjectHead,
    size: tuple[int, int],
    captions: Sequence[Box],
    objects: ObjectStore,
    path: Path,
) -> PlacedLogo:
    if head.size > MAX_LOGO_BYTES:
        raise InvalidInputError(
            f"brand: logo.file: {head.key} is larger than {MAX_LOGO_BYTES >> 20} MiB."
        )
    data = objects.data(head.key, MAX_LOGO_BYTES)
    name = f"brand: logo.file: {head.key}"
    bounds = round(logo.width * size[0]), round(_TALLEST * size[1])
    own = read_logo(data, name, *bounds, logo.opacity, path)
    return PlacedLogo(path, place_logo(logo, size, own, captions))


def _probed(field: str, head: ObjectHead, objects: ObjectStore) -> tuple[Probe, Fraction]:
    with _named(field):
        probe = probe_source(open_source(head, objects))
        if not probe.duration or probe.duration > LONGEST_PART:
            raise InvalidInputError(f"{head.key} is longer than {LONGEST_PART} s.", "Cut it.")
    return probe, probe.duration


@contextmanager
def _named(field: str) -> Iterator[None]:
    """Adds the brand's field to the message of a file that cannot be used."""
    try:
        yield
    except (InvalidInputError, MediaRefusedError) as error:
        raise type(error)(f"brand: {field}: {error.message}", error.remedy) from None


def _fetched(
    field: str, head: ObjectHead, rate: int, objects: ObjectStore, path: Path
) -> VideoPart:
    probe, duration = _probed(field, head, objects)
    window = fetch_window(open_source(head, objects), probe, Span(Fraction(0), duration), path)
    loudness = normal_loudness(path, window.origin, window.origin + duration)
    return VideoPart(window, probe, loudness, rate)


def with_logo(stream: Any, logo: PlacedLogo | None) -> Any:
    """`stream` with the logo on it."""
    if logo is None:
        return stream
    image = command.input(str(logo.path))["v:0"]
    image = image.filter("scale", out_color_matrix="bt709", out_range="tv")
    image = image.filter("format", "yuva420p")
    return stream.overlay(image, x=logo.box.left, y=logo.box.top, eof_action="repeat")


def with_music(sound: Any, loudness: float, music: MusicBed | None, duration: Fraction) -> Any:
    """The sound of a short of `duration` seconds at the target loudness, with the music below it.

    `loudness` is that of `sound`, in LUFS.
    """
    if music is None:
        return normalize(sound, loudness, RATE)
    how = music.level, music.ducking
    speech = amplified(sound, loudness)
    return below_speech(speech, loudness, music.path, music.loudness, duration, how)


def joined(
    picture: Any,
    sound: Any,
    parts: BrandParts,
    duration: Fraction,
    frames: Sequence[Fraction],
    size: tuple[int, int],
) -> tuple[Any, Any]:
    """The picture and the sound of a short with its intro before and its outro after them.

    Without them the short lasts `duration` seconds and has frames at the times `frames`.
    """
    if not (parts.intro or parts.outro):
        return picture, sound
    # For codecs with hidden frames, the number of frames is an estimate.
    picture = picture.filter("tpad", stop=-1, stop_mode="clone").filter(
        "trim", end_frame=len(frames)
    )
    pieces = [(picture, sound, len(frames), samples(duration, RATE), frames[0])]
    if parts.intro:
        pieces.insert(0, _part(parts.intro, size))
    if parts.outro:
        pieces.append(_part(parts.outro, size))
    # `concat` computes times from the durations of frames, so each piece is moved to its own: to
    # the sample at which its sound begins.
    later, first, sample = "ld(0)", 0, 0
    for _, _, count, length, begins in pieces:
        time = round((Fraction(sample, RATE) + begins) * TIMESCALE)
        later = f"if(eq(N,{first}),PTS-{time},{later})"
        first, sample = first + count, sample + length
    shown = command.concat(*(piece[0] for piece in pieces), v=1, a=0)
    shown = shown.filter("settb", f"1/{TIMESCALE}").filter("setpts", f"st(0,{later});PTS-ld(0)")
    return shown, command.concat(*(piece[1] for piece in pieces), v=0, a=1)


def _part(part: VideoPart, size: tuple[int, int]) -> tuple[Any, Any, int, int, Fraction]:
    """The picture and the sound of a part, the numbers of their frames and samples, and the time of
    the first frame."""
    shown, heard = _part_picture(part, size), _part_sound(part)
    return shown, heard, part.frame_count, part.sample_count, Fraction(0)


def _part_picture(part: VideoPart, size: tuple[int, int]) -> Any:
    content = command.input(str(part.window.path), threads=1, **input_options(part.window))
    target = OutputFormat(*size, _BT709, RATE, 2, "4.2")
    shown = convert(upright(content["v:0"], part.window, part.probe), part.probe, target)
    shown = shown.filter("fps", part.rate, start_time=0).filter("tpad", stop=-1, stop_mode="clone")
    return shown.filter("trim", end_frame=part.frame_count)


def _part_sound(part: VideoPart) -> Any:
    window = part.window
    content = command.input(str(window.path))["a:0"] if window.has_audio else None
    return normalize(audio_filters(content, window, RATE, "stereo"), part.loudness, RATE)
