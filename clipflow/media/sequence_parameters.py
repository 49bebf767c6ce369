"""H.264's sequence parameter set, as far as it decides whether packets may be copied.

ITU-T H.264, 7.3.2.1.1.
"""

from dataclasses import dataclass

# Those whose sets say more of colour: 7.3.2.1.1 lists them.
_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_BASELINE, _MAIN, _HIGH = 66, 77, 100


@dataclass(frozen=True)
class Sequence:
    """`chroma` is chroma_format_idc, `depth` the bits of a sample, sizes those that are shown."""

    profile: int
    constraints: int
    level: int
    id: int
    chroma: int
    depth: int
    progressive: bool
    width: int
    height: int

    @property
    def unfit(self) -> str:
        """Why a segment cannot hold such a picture as it is; empty where it can."""
        if self.depth != 8:
            return f"the source has {self.depth} bits a sample"
        if self.chroma != 1:
            return "the source's colour is not 4:2:0"
        if not self.progressive:
            return "the source is or may be interlaced"
        if self.profile not in (_BASELINE, _MAIN, _HIGH):
            return f"the source is of H.264's profile {self.profile}"
        return ""


class _Bits:
    def __init__(self, data: bytes) -> None:
        # Three bytes that would look like a start code have a 3 put in between them.
        payload = data.replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in payload)
        self._place = 0

    def take(self, count: int) -> int:
        taken = self._bits[self._place : self._place + count]
        if len(taken) < count:
            raise ValueError("a parameter set ends too early")
        self._place += count
        return int(taken or "0", 2)

    def unsigned(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        number = self.unsigned()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def exp_golomb(data: bytes) -> int:
    """The first number in `data`. Raises ValueError where there is none."""
    return _Bits(data[:16]).unsigned()


def read_sequence(unit: bytes) -> Sequence:
    """What the sequence parameter set in this NAL unit says. Raises ValueError where it is cut."""
    bits = _Bits(unit[1:])
    profile, constraints, level = bits.take(8), bits.take(8), bits.take(8)
    number = bits.unsigned()
    chroma, depth = _colour(bits) if profile in _WITH_CHROMA else (1, 8)
    _skip_order(bits)
    bits.unsigned()  # max_num_ref_frames
    bits.take(1)  # gaps_in_frame_num_value_allowed_flag
    columns, rows = bits.unsigned() + 1, bits.unsigned() + 1
    progressive = bool(bits.take(1))
    if not progressive:
        bits.take(1)  # mb_adaptive_frame_field_flag
    bits.take(1)  # direct_8x8_inference_flag
    left, right, top, bottom = [bits.unsigned() for _ in range(4)] if bits.take(1) else [0] * 4
    fields = 1 if progressive else 2
    # Cropping counts in pairs of samples, as 4:2:0 has them.
    width = columns * 16 - 2 * (left + right)
    height = fields * (rows * 16 - 2 * (top + bottom))
    return Sequence(profile, constraints, level, number, chroma, depth, progressive, width, height)


def _colour(bits: _Bits) -> tuple[int, int]:
    chroma = bits.unsigned()
    if chroma == 3:
        bits.take(1)  # separate_colour_plane_flag
    depths = bits.unsigned() + 8, bits.unsigned() + 8
    bits.take(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.take(1):  # seq_scaling_matrix_present_flag
        for index in range(8 if chroma != 3 else 12):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma, max(depths)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_order(bits: _Bits) -> None:
    bits.unsigned()  # log2_max_frame_num_minus4
    kind = bits.unsigned()  # pic_order_cnt_type
    if kind == 0:
        bits.unsigned()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()
