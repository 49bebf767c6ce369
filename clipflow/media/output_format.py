"""The output format that all segments of a clip share, so that they join without re-encoding.

The picture's size, colour and the sound's layout are agreed on; the frame rate is not: each
segment keeps its frames' own times, as an MP4's frames may be any time apart.
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

    `copied` are the parameter sets of sources that are in this format as they are, so that their
    packets may be copied: every segment has them beside our own. Else None, and `reencode_reason`
    says why.
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
    """The output format of a clip made of `sources`: as large as the largest of them."""
    largest = max(sources, key=lambda source: source.width * source.height)
    sounds = [source.sound for source in sources if source.sound]
    rates = {sound.sample_rate for sound in sounds}
    colours = {limited(source.colour) for source in sources}
    colour = colours.pop() if len(colours) == 1 else _BT709
    reencode_reason = _unfit(sources, (largest.width, largest.height), colour)
    return OutputFormat(
        width=largest.width,
        height=largest.height,
        colour=colour,
        sample_rate=rates.pop() if rates in ({44100}, {48000}) else 48000,
        channels=1 if sounds and all(sound.channels == 1 for sound in sounds) else 2,
        level=_level(largest.width, largest.height, max(s.frame_rate for s in sources)),
        copied=None if reencode_reason else sources[0].parameter_sets,
        reencode_reason=reencode_reason,
    )


def _unfit(sources: Sequence[Probe], size: tuple[int, int], colour: Colour) -> str:
    """Why the sources' packets cannot be in segments of this size and colour; empty if they can."""
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
    """The same format with HDR brought to SDR: what a short is shown as."""
    if not is_hdr(target.colour):
        return target
    return replace(
        target, colour=_BT709, copied=None, reencode_reason="the source's HDR becomes SDR"
    )


def limited(colour: Colour) -> Colour:
    """The same colour as a clip has it: YUV, in limited range, as players expect."""
    matrix = colour.matrix
    if matrix == RGB:
        matrix = _BT2020 if colour.primaries == _BT2020 else _BT709.matrix
    return Colour(colour.primaries, colour.transfer, matrix)


def is_hdr(colour: Colour) -> bool:
    return colour.transfer in _HDR_TRANSFERS


def matrix_of(source: Probe) -> int:
    """The matrix to decode with; where none is said, what its size suggests, as players do."""
    if source.colour.matrix != UNSPECIFIED:
        return source.colour.matrix
    return 1 if source.height >= 720 else 6


def _level(width: int, height: int, frame_rate: Fraction) -> str:
    blocks = -(-width // 16) * -(-height // 16)
    fitting = (
        n for n, frame, second in _LEVELS if blocks <= frame and blocks * frame_rate <= second
    )
    return next(fitting, "6.2")
