"""The output format that all segments of a clip share, and the conversion of pictures to it.

Because they share it, they join without re-encoding. They have the picture's size and colour and
the audio's sample rate and layout in common, but not a frame rate: each segment keeps the times of
its frames, since an MP4's frames may have any distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from clipflow.media.h264 import ParameterSets
from clipflow.media.probe import RGB, UNSPECIFIED, Colour, Probe

# ITU-T H.273 code points.
_BT709 = Colour(1, 1, 1)
_BT2020 = 9
_HDR_TRANSFERS = (16, 18)
# Table A-1 of ITU-T H.264: level, macroblocks a frame, macroblocks a second.
_LEVELS = (
    ("3.1", 3600, 108_000),
    ("4.0", 8192, 245_760),
    ("4.2", 8704, 522_240),
    ("5.1", 36_864, 983_040),
    ("5.2", 36_864, 2_073_600),
)


@dataclass(frozen=True)
class OutputFormat:
    """Pixels, colour tags, samples a second and channels (1 or 2) of every segment of a clip.

    `copied` are the parameter sets of sources that have this format already, so that their packets
    can be copied: every segment's header has them in addition to the encoder's. Otherwise it is
    None, and `reencode_reason` gives the reason.
    """

    width: int
    height: int
    colour: Colour
    sample_rate: int
    channels: int
    level: str
    copied: ParameterSets | None = None
    reencode_reason: str = ""

    @property
    def resolution(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def layout(self) -> str:
        return "mono" if self.channels == 1 else "stereo"


def common_format(sources: Sequence[Probe]) -> OutputFormat:
    """The output format of a clip made of `sources`, with the size of the largest."""
    largest = max(sources, key=lambda source: source.width * source.height)
    tracks = [source.audio for source in sources if source.audio]
    rates = {track.sample_rate for track in tracks}
    colours = {limited(source.colour) for source in sources}
    colour = colours.pop() if len(colours) == 1 else _BT709
    reencode_reason = _reencode_reason(sources, (largest.width, largest.height), colour)
    return OutputFormat(
        width=largest.width,
        height=largest.height,
        colour=colour,
        sample_rate=rates.pop() if rates in ({44100}, {48000}) else 48000,
        channels=1 if tracks and all(track.channels == 1 for track in tracks) else 2,
        level=_level(largest.width, largest.height, max(s.frame_rate for s in sources)),
        copied=None if reencode_reason else sources[0].parameter_sets,
        reencode_reason=reencode_reason,
    )


def _reencode_reason(sources: Sequence[Probe], size: tuple[int, int], colour: Colour) -> str:
    """The reason why the sources' packets cannot be copied to segments of this format, or empty."""
    for source in sources:
        if source.reencode_reason:
            return source.reencode_reason
        if source.rotation:
            return f"the source is turned by {source.rotation} degrees"
        if source.mirrored:
            return "the source is mirrored"
        if not source.square:
            return "the source's pixels are not square, or its sides are odd"
        if source.colour != colour or (source.width, source.height) != size:
            return "the source has another size, range or colour than the clip"
    if len({source.parameter_sets for source in sources}) > 1:
        return "the clip's sources have different parameter sets"
    return ""


def to_sdr(target: OutputFormat) -> OutputFormat:
    """The same format with HDR replaced by SDR, as shorts need it."""
    if not is_hdr(target.colour):
        return target
    return replace(
        target, colour=_BT709, copied=None, reencode_reason="the source's HDR becomes SDR"
    )


def limited(colour: Colour) -> Colour:
    """The colour that a clip has for a source of this colour: YUV in limited range."""
    matrix = colour.matrix
    if matrix == RGB:
        matrix = _BT2020 if colour.primaries == _BT2020 else _BT709.matrix
    return Colour(colour.primaries, colour.transfer, matrix)


def is_hdr(colour: Colour) -> bool:
    return colour.transfer in _HDR_TRANSFERS


def matrix_of(source: Probe) -> int:
    """The matrix to decode with; if it is unspecified, the usual one for the size."""
    if source.colour.matrix != UNSPECIFIED:
        return source.colour.matrix
    return 1 if source.height >= 720 else 6


def _level(width: int, height: int, frame_rate: Fraction) -> str:
    blocks = -(-width // 16) * -(-height // 16)
    fitting = (
        n for n, frame, second in _LEVELS if blocks <= frame and blocks * frame_rate <= second
    )
    return next(fitting, "6.2")


# H.273's matrix coefficients by their names in ffmpeg's scale filter.
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
# The scale filter's options for a JPEG, which has no colour tags: JFIF defines its colour.
AS_JPEG = {"out_color_matrix": "bt601", "out_range": "pc"}


def convert(stream: Any, source: Probe, target: OutputFormat) -> Any:
    """Scale, pad and convert the source's upright pictures to the output format."""
    if is_hdr(source.colour) and not is_hdr(target.colour):
        stream = tone_map(stream, source)
    size, wanted = (source.width, source.height), (target.width, target.height)
    fits = source.square and size == wanted and limited(source.colour) == target.colour
    if not fits or source.colour.full_range:
        width, height = _fitted_size(source, target)
        stream = stream.filter("scale", width, height, flags="bicubic", **_matrices(source, target))
        stream = stream.filter("pad", target.width, target.height, "(ow-iw)/2", "(oh-ih)/2")
    colour = target.colour
    return (
        stream.filter("format", "yuv420p")
        .filter("setsar", 1)
        .filter(
            "setparams",
            range="tv",
            color_primaries=colour.primaries,
            color_trc=colour.transfer,
            colorspace=colour.matrix,
        )
    )


def _fitted_size(source: Probe, target: OutputFormat) -> tuple[int, int]:
    """The largest even size within the output format's that keeps the source's aspect ratio."""
    ratio = min(Fraction(target.width, source.width), Fraction(target.height, source.height))
    return 2 * round(source.width * ratio / 2), 2 * round(source.height * ratio / 2)


def to_jpeg(stream: Any, source: Probe, width: int) -> Any:
    """The source's pictures in the colour of a JPEG, `width` pixels wide; HDR becomes SDR."""
    if is_hdr(source.colour):
        stream, given = tone_map(stream, source), "bt709"
    else:
        given = MATRICES.get(matrix_of(source), "auto")
    return stream.filter("scale", width, -2, in_color_matrix=given, **AS_JPEG)


def _matrices(source: Probe, target: OutputFormat) -> dict[str, str]:
    was_mapped = is_hdr(source.colour) and not is_hdr(target.colour)
    given = target.colour.matrix if was_mapped else matrix_of(source)
    wanted = given if target.colour.matrix == UNSPECIFIED else target.colour.matrix
    return {
        "in_color_matrix": MATRICES.get(given, "auto"),
        "out_color_matrix": MATRICES.get(wanted, "auto"),
        "in_range": "pc" if source.colour.full_range and not was_mapped else "tv",
        "out_range": "tv",
    }


def tone_map(stream: Any, source: Probe) -> Any:
    """Tone-map HDR (PQ or HLG) to SDR in BT.709, with the filters from ffmpeg's wiki."""
    colour = source.colour
    # Windows have no colour tags, so those that only the source's container declares are set here.
    stream = stream.filter(
        "setparams",
        range="pc" if colour.full_range else "tv",
        color_primaries=_BT2020 if colour.primaries == UNSPECIFIED else colour.primaries,
        color_trc=colour.transfer,
        colorspace=_BT2020 if colour.matrix == UNSPECIFIED else colour.matrix,
    )
    return (
        stream.filter("zscale", transfer="linear", npl=100)
        .filter("format", "gbrpf32le")
        .filter("zscale", primaries="bt709")
        .filter("tonemap", "hable", desat=0)
        .filter("zscale", transfer="bt709")
        # Integers have no values outside of BT.709, which versions of zscale convert differently.
        .filter("format", "gbrp10le")
        .filter("zscale", matrix="bt709", range="tv")
        .filter("format", "yuv420p")
    )
