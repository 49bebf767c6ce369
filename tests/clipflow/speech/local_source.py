"""A source on this machine's disk, in place of one in S3."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer


@dataclass(frozen=True)
class LocalSource:
    path: Path
    etag: str = "1"
    seekable: bool = True

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, start: Fraction, end: Fraction) -> InputContainer:
        return av.open(str(self.path))
