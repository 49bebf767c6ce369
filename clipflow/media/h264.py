"""Parsing H.264 packets and parameter sets, as needed to copy packets between tracks.

NAL units are separated by start codes (MPEG-TS) or preceded by their lengths (MP4). Each parameter
set has an id, and each slice refers to one, so packets of two encoders can share one track and one
header if their ids differ.

ITU-T H.264, 7.3.1, 7.3.2 and annex B; ISO/IEC 14496-15, 5.3.3 (avcC).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

START_CODE = b"\0\0\1"
# The length size of a stream whose units have start codes and no lengths.
ANNEX_B = 0
# The length size in MP4s that clipflow writes.
LENGTH_SIZE = 4


class NalType(IntEnum):
    """The types of NAL units that clipflow distinguishes, by H.264's table 7-1."""

    SLICE = 1
    IDR_SLICE = 5
    SPS = 7
    PPS = 8


def nal_type(unit: bytes) -> int:
    """The unit's type. Raises ValueError if its first byte is invalid."""
    if not unit or unit[0] & 0x80 or not unit[0] & 0x1F:
        raise ValueError("a NAL unit is damaged")
    return unit[0] & 0x1F


def nal_units(data: bytes, length_size: int) -> Iterator[bytes]:
    """The units of one packet; `length_size` is the size of a length in bytes, or `ANNEX_B`.

    Raises ValueError if the units do not fill the packet.
    """
    return (
        _split_by_start_codes(data)
        if length_size == ANNEX_B
        else _split_by_lengths(data, length_size)
    )


def length_prefixed(parts: Iterator[bytes]) -> bytes:
    """The units as one packet of an MP4, each after its length."""
    return b"".join(len(unit).to_bytes(LENGTH_SIZE, "big") + unit for unit in parts)


def _split_by_lengths(data: bytes, size: int) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + size], "big")
        unit = data[position + size : position + size + length]
        if not length or len(unit) < length:
            raise ValueError("a NAL unit's length is damaged")
        yield unit
        position += size + length


def _split_by_start_codes(data: bytes) -> Iterator[bytes]:
    before, *parts = data.split(START_CODE)
    if before.strip(b"\0") or not parts:
        raise ValueError("a packet begins without a start code")
    for part in parts:
        # A unit never ends in zeros: they belong to the next start code or are padding.
        unit = part.rstrip(b"\0")
        if unit:
            yield unit


# Profiles whose sequence parameter sets have chroma fields, as listed in 7.3.2.1.1.
_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_BASELINE, _MAIN, _HIGH = 66, 77, 100


@dataclass(frozen=True)
class SequenceParameters:
    """The fields of a sequence parameter set that clipflow uses.

    `chroma` is chroma_format_idc, `depth` the bits of a sample; `width` and `height` are those of
    the cropped picture in pixels. `frame_number_bits` is the size of frame_num in a slice header;
    with `separate_planes` a slice header has colour_plane_id.
    """

    profile: int
    constraints: int
    level: int
    id: int
    chroma: int
    depth: int
    progressive: bool
    width: int
    height: int
    frame_number_bits: int = 4
    separate_planes: bool = False

    @property
    def reencode_reason(self) -> str:
        """The reason why such a stream cannot be copied into a segment; empty if it can."""
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
        # Encoders insert a 3 into three bytes that would otherwise look like a start code.
        payload = data.replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in payload)
        self._position = 0

    def take(self, count: int) -> int:
        taken = self._bits[self._position : self._position + count]
        if len(taken) < count:
            raise ValueError("a parameter set ends too early")
        self._position += count
        return int(taken or "0", 2)

    def unsigned(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        number = self.unsigned()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def first_exp_golomb(data: bytes) -> int:
    """The first Exp-Golomb coded number in `data`. Raises ValueError if there is none."""
    return _Bits(data[:16]).unsigned()


def parse_sequence_parameters(unit: bytes) -> SequenceParameters:
    """Parse a NAL unit with a sequence parameter set. Raises ValueError if it is truncated."""
    bits = _Bits(unit[1:])
    profile, constraints, level = bits.take(8), bits.take(8), bits.take(8)
    number = bits.unsigned()
    chroma, depth, separate = _colour(bits) if profile in _WITH_CHROMA else (1, 8, False)
    frame_number_bits = bits.unsigned() + 4
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
    # Cropping is counted in pairs of luma samples, which is the unit of 4:2:0.
    width = columns * 16 - 2 * (left + right)
    height = fields * (rows * 16 - 2 * (top + bottom))
    return SequenceParameters(
        profile,
        constraints,
        level,
        number,
        chroma,
        depth,
        progressive,
        width,
        height,
        frame_number_bits,
        separate,
    )


def _colour(bits: _Bits) -> tuple[int, int, bool]:
    chroma = bits.unsigned()
    separate = chroma == 3 and bool(bits.take(1))
    depths = bits.unsigned() + 8, bits.unsigned() + 8
    bits.take(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.take(1):  # seq_scaling_matrix_present_flag
        for index in range(8 if chroma != 3 else 12):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma, max(depths), separate


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_order(bits: _Bits) -> None:
    kind = bits.unsigned()  # pic_order_cnt_type
    if kind == 0:
        bits.unsigned()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()


# Bytes that hold the fields of a slice header up to bottom_field_flag.
_SLICE_HEADER_BYTES = 32


class FieldPairs:
    """Recognizes packets that hold only the second field of a frame whose first field came before.

    In a stream of field pictures (PAFF), a demuxer may return each field as a packet of its own,
    while a decoder returns one frame for both. `header` is the stream's extradata. The rule for a
    pair is that of 7.4.1.2.4: opposite parity and the same frame_num.
    """

    def __init__(self, header: bytes) -> None:
        self._length_size = length_size(header)
        self._sequences: dict[int, SequenceParameters] = {}
        # A header without parameter sets, or with invalid ones, has no pairs to recognize.
        with suppress(ValueError):
            sets = parameter_sets(header)
            by_id = {sequence.id: sequence for sequence in sets.sequences}
            for unit in sets.picture:
                bits = _Bits(bytes.fromhex(unit)[1:])
                picture, sequence = bits.unsigned(), by_id.get(bits.unsigned())
                if sequence and not sequence.progressive:
                    self._sequences[picture] = sequence
        # The first field, as its frame_num and whether it is a bottom field, that lacks its second.
        self._first: tuple[int, bool] | None = None

    def is_second(self, packet: bytes) -> bool:
        """Whether the packet, the next one in decode order, completes the frame before it."""
        if not self._sequences:
            return False
        try:
            slices = [
                unit
                for unit in nal_units(packet, self._length_size)
                if nal_type(unit) in (NalType.SLICE, NalType.IDR_SLICE)
            ]
            fields = list(dict.fromkeys(self._field(unit) for unit in slices))
        except ValueError:
            # Damaged packets are found when the frames are counted.
            fields = [None]
        waiting, is_second = self._first, False
        for place, found in enumerate(fields):
            if found and waiting and found == (waiting[0], not waiting[1]):
                is_second, waiting = is_second or place == 0, None
            else:
                waiting = found
        self._first = waiting
        return is_second

    def _field(self, unit: bytes) -> tuple[int, bool] | None:
        """The slice's frame_num and whether it is of a bottom field; None for a whole frame."""
        bits = _Bits(unit[1:_SLICE_HEADER_BYTES])
        bits.unsigned()  # first_mb_in_slice
        bits.unsigned()  # slice_type
        sequence = self._sequences.get(bits.unsigned())
        if sequence is None:
            return None
        if sequence.separate_planes:
            bits.take(2)  # colour_plane_id
        number = bits.take(sequence.frame_number_bits)
        return (number, bool(bits.take(1))) if bits.take(1) else None


# Ids of sequence parameter sets run from 0 to 31.
_IDS = range(32)
_HIGH_PROFILE = 100


@dataclass(frozen=True)
class ParameterSets:
    """NAL units of sequence and picture parameter sets, in hexadecimal to be JSON-serializable."""

    sequence: tuple[str, ...]
    picture: tuple[str, ...]

    @property
    def sequences(self) -> list[SequenceParameters]:
        """The parsed sequence parameter sets. Raises ValueError if one is invalid."""
        return [parse_sequence_parameters(bytes.fromhex(unit)) for unit in self.sequence]

    @property
    def unused_id(self) -> int:
        """The lowest id that none of these sets has. Raises ValueError if all are used."""
        used = {sequence.id for sequence in self.sequences}
        used |= {first_exp_golomb(bytes.fromhex(unit)[1:]) for unit in self.picture}
        free = next((number for number in _IDS if number not in used), None)
        if free is None:
            raise ValueError("no id of a parameter set is free")
        return free

    def has(self, unit: bytes) -> bool:
        """Whether this NAL unit is one of these sets."""
        return unit.hex() in (*self.sequence, *self.picture)

    def combined_with(self, other: "ParameterSets") -> "ParameterSets":
        """The union: these sets followed by the other's."""
        return ParameterSets(self.sequence + other.sequence, self.picture + other.picture)

    def header(self) -> bytes:
        """An avcC with all sets, with a profile and level that cover each of them."""
        sequences = self.sequences
        profile = max(sequence.profile for sequence in sequences)
        # A constraint flag holds for the whole stream only if every set has it.
        constraints = 0xFF
        for sequence in sequences:
            constraints &= sequence.constraints
        level = max(sequence.level for sequence in sequences)
        front = bytes([1, profile, constraints, level, 0xFC | LENGTH_SIZE - 1])
        depths = bytes([0xFC | 1, 0xF8, 0xF8, 0]) if profile >= _HIGH_PROFILE else b""
        return (
            front
            + bytes([0xE0 | len(self.sequence)])
            + b"".join(map(_with_length, self.sequence))
            + bytes([len(self.picture)])
            + b"".join(map(_with_length, self.picture))
            + depths
        )


def length_size(header: bytes) -> int:
    """The size in bytes of a NAL unit's length, by a stream's header, or `ANNEX_B`."""
    return (header[4] & 3) + 1 if _is_avcc(header) else ANNEX_B


def parameter_sets(header: bytes) -> ParameterSets:
    """The sets in a stream's header, which is an avcC or has units with start codes.

    Raises ValueError if the header has none or is invalid.
    """
    found = list(_avcc_units(header) if _is_avcc(header) else nal_units(header, ANNEX_B))
    kinds = [nal_type(unit) for unit in found]
    sequence, picture = (
        tuple(unit.hex() for unit, kind in zip(found, kinds, strict=True) if kind == wanted)
        for wanted in (NalType.SPS, NalType.PPS)
    )
    if not sequence or not picture:
        raise ValueError("its header has no parameter sets")
    return ParameterSets(sequence, picture)


def _is_avcc(header: bytes) -> bool:
    return len(header) > 6 and header[0] == 1


def _avcc_units(header: bytes) -> Iterator[bytes]:
    position = 5
    for mask in (0x1F, 0xFF):
        count, position = (
            int.from_bytes(header[position : position + 1], "big") & mask,
            position + 1,
        )
        for _ in range(count):
            end = position + 2 + int.from_bytes(header[position : position + 2], "big")
            if end > len(header):
                raise ValueError("its header is damaged")
            yield header[position + 2 : end]
            position = end


def _with_length(unit: str) -> bytes:
    data = bytes.fromhex(unit)
    return len(data).to_bytes(2, "big") + data
