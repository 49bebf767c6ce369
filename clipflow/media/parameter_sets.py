"""H.264's parameter sets, which say how packets are to be decoded: read, compared, joined.

Each set has an id, and each slice names one. So packets of two encoders can lie in one track, under
one header, as long as their ids differ. ITU-T H.264, 7.3.2; ISO/IEC 14496-15, 5.3.3 (avcC).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from clipflow.media import nal
from clipflow.media.nal import Unit
from clipflow.media.sequence_parameters import Sequence, exp_golomb, read_sequence

# Ids of sequence parameter sets run from 0 to 31.
_IDS = range(32)
_HIGH = 100


@dataclass(frozen=True)
class ParameterSets:
    """NAL units of sequence and of picture parameter sets, in hexadecimal: plans travel as JSON."""

    sequence: tuple[str, ...]
    picture: tuple[str, ...]

    @property
    def sequences(self) -> list[Sequence]:
        """The sequence parameter sets, read. Raises ValueError where one cannot be."""
        return [read_sequence(bytes.fromhex(unit)) for unit in self.sequence]

    @property
    def unused_id(self) -> int:
        """The lowest id that no set of these has, for sets of ours. Raises ValueError at none."""
        used = {sequence.id for sequence in self.sequences}
        used |= {exp_golomb(bytes.fromhex(unit)[1:]) for unit in self.picture}
        free = next((number for number in _IDS if number not in used), None)
        if free is None:
            raise ValueError("no id of a parameter set is free")
        return free

    def has(self, unit: bytes) -> bool:
        """Whether this NAL unit is one of these sets."""
        return unit.hex() in (*self.sequence, *self.picture)

    def and_those_of(self, other: "ParameterSets") -> "ParameterSets":
        """Both: these, and then the other's."""
        return ParameterSets(self.sequence + other.sequence, self.picture + other.picture)

    def header(self) -> bytes:
        """An avcC with all sets, whose profile and level hold for each of them."""
        sequences = self.sequences
        profile = max(sequence.profile for sequence in sequences)
        # A flag says that the whole stream keeps a constraint.
        constraints = 0xFF
        for sequence in sequences:
            constraints &= sequence.constraints
        level = max(sequence.level for sequence in sequences)
        front = bytes([1, profile, constraints, level, 0xFC | nal.LENGTH_SIZE - 1])
        depths = bytes([0xFC | 1, 0xF8, 0xF8, 0]) if profile >= _HIGH else b""
        return (
            front
            + bytes([0xE0 | len(self.sequence)])
            + b"".join(map(_with_length, self.sequence))
            + bytes([len(self.picture)])
            + b"".join(map(_with_length, self.picture))
            + depths
        )


def length_size(header: bytes) -> int:
    """Bytes of each NAL unit's length, as a stream's header says it, or `nal.ANNEX_B`."""
    return (header[4] & 3) + 1 if _is_avcc(header) else nal.ANNEX_B


def parameter_sets(header: bytes) -> ParameterSets:
    """The sets in a stream's header, an avcC or units behind start codes.

    Raises ValueError where it has none, or cannot be read.
    """
    found = list(_avcc_units(header) if _is_avcc(header) else nal.units(header, nal.ANNEX_B))
    kinds = [nal.unit_type(unit) for unit in found]
    sequence, picture = (
        tuple(unit.hex() for unit, kind in zip(found, kinds, strict=True) if kind == wanted)
        for wanted in (Unit.SPS, Unit.PPS)
    )
    if not sequence or not picture:
        raise ValueError("its header has no parameter sets")
    return ParameterSets(sequence, picture)


def _is_avcc(header: bytes) -> bool:
    return len(header) > 6 and header[0] == 1


def _avcc_units(header: bytes) -> Iterator[bytes]:
    place = 5
    for mask in (0x1F, 0xFF):
        count, place = int.from_bytes(header[place : place + 1], "big") & mask, place + 1
        for _ in range(count):
            end = place + 2 + int.from_bytes(header[place : place + 2], "big")
            if end > len(header):
                raise ValueError("its header is damaged")
            yield header[place + 2 : end]
            place = end


def _with_length(unit: str) -> bytes:
    data = bytes.fromhex(unit)
    return len(data).to_bytes(2, "big") + data
