"""A brand's logo: an image that unpacks to gigabytes is refused before it is decoded."""

import subprocess
import sys

REFUSE = """
import resource
import zlib
from pathlib import Path
from struct import pack

from clipflow.domain.errors import InvalidInputError
from clipflow.media.branding import _read_logo

def chunk(name, data):
    return pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))

side, packer = 8000, zlib.compressobj(1)
row = bytes(4 * side + 1)
rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
header = chunk(b"IHDR", pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
image = b"\\x89PNG\\r\\n\\x1a\\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    _read_logo(image, "png_pipe", "logo", (100, 100), 1.0, Path("unused"))
except InvalidInputError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    result = subprocess.run(
        [sys.executable, "-c", REFUSE], capture_output=True, text=True, check=True
    )
    kilobytes, message = result.stdout.split(" ", 1)
    assert "million pixels" in message
    # Decoded, it has 256 MB.
    assert int(kilobytes) < 50_000
