"""A brand's logo: a small image that unpacks to gigabytes is refused."""

import subprocess
import sys

import pytest

REFUSE = """
import resource
import sys
import zlib
from pathlib import Path
from struct import pack

from clipflow.domain.errors import InvalidInputError
from clipflow.media.branding import _read_logo

def chunk(name, data):
    return pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))

def packed(block, count):
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(block) for _ in range(count)) + packer.flush()

side, profile = map(int, sys.argv[1:])
rows = packed(bytes(4 * side + 1), side)
header = chunk(b"IHDR", pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
header += chunk(b"iCCP", b"x\\0\\0" + packed(bytes(1 << 20), profile)) if profile else b""
image = b"\\x89PNG\\r\\n\\x1a\\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    _read_logo(image, "png_pipe", "logo", (100, 100), 1.0, Path("unused"))
except InvalidInputError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.parametrize(
    ("side", "profile", "most"),
    [
        # Decoded, its pixels have 256 MB; they are refused before that.
        (8000, 0, 50_000),
        # Its colour profile has 1.5 GB.
        (100, 1500, 1_100_000),
    ],
    ids=["pixels", "a colour profile"],
)
def test_an_image_that_unpacks_to_gigabytes_is_refused(side: int, profile: int, most: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", REFUSE, str(side), str(profile)],
        capture_output=True,
        text=True,
        check=True,
    )
    kilobytes, message = result.stdout.split(" ", 1)
    assert "million pixels" in message
    assert int(kilobytes) < most
