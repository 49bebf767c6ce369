"""A program that decodes utterances: `python -m clipflow.speech.decoder FILE`.

Reads lines of two numbers, the first sample and the one after the last; writes for each a line,
the words in it as `words.json` has them, with times from the file's beginning.
"""

import json
import re
import sys
from pathlib import Path

from pocketsphinx import Decoder

from clipflow.domain.transcript import Word
from clipflow.speech.sound import RATE, samples

# `<s>`, `<sil>`, `[NOISE]`, `++breath++`: what the dictionaries hold beside words.
_NOT_A_WORD = re.compile(r"[<\[+]")
# A word's second and further pronunciations: `the(2)`.
_PRONUNCIATION = re.compile(r"\(\d+\)$")


def words(decoder: Decoder, span: range, sound: bytes) -> list[Word]:
    """The words in `sound`, which begins at the first sample of `span`."""
    # Forgets the noise of the utterance before, so that it makes no difference who hears which.
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    start, frame_rate = span.start / RATE, int(decoder.config["frate"])
    return [
        Word(
            text=_written(segment.word),
            start=round(start + segment.start_frame / frame_rate, 3),
            end=round(start + (segment.end_frame + 1) / frame_rate, 3),
            # Sums of logarithms in whole numbers go a little above 1.
            score=round(min(1.0, max(0.0, segment.prob)), 3),
        )
        for segment in decoder.seg() or ()
        if not _NOT_A_WORD.match(segment.word)
    ]


def _written(entry: str) -> str:
    """The dictionary is in lower case; English writes I."""
    word = _PRONUNCIATION.sub("", entry)
    return word.capitalize() if word == "i" or word.startswith("i'") else word


def main() -> None:
    sound = samples(Path(sys.argv[1]))
    decoder = Decoder(loglevel="FATAL", samprate=RATE)
    for line in sys.stdin:
        span = range(*map(int, line.split()))
        heard = words(decoder, span, sound[span.start : span.stop].tobytes())
        print(json.dumps([word.model_dump() for word in heard]), flush=True)


if __name__ == "__main__":
    main()
