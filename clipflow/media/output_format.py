"""The output format that all segments of a clip share, so that they join without re-encoding.

Segments share the picture's size and colour and the audio's sample rate and layout, but not a frame
rate: each segment keeps the times of its frames, since an MP4's frames may have any distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

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
