"""Subtitles in the JSON of Whisper, WhisperX, whisper.cpp and Deepgram."""

import json

import pytest

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.transcript import LONGEST
from tests.clipflow.subtitles.reading import read

WORDS = [
    {"word": " Bees", "start": 1.0, "end": 1.4, "probability": 0.91},
    {"word": " dance", "start": 1.4, "end": 1.9, "probability": 0.4},
    {"word": "-like", "start": 1.9, "end": 2.1, "probability": 0.8},
]


def test_the_json_of_whisper_keeps_its_words() -> None:
    segment = {"id": 0, "start": 1.0, "end": 2.2, "text": " Bees dance-like", "words": WORDS}
    transcript = read(json.dumps({"text": "", "segments": [segment], "language": "en"}))
    found = [(word.text, word.start, word.end, word.score) for word in transcript.words]
    assert found == [("Bees", 1.0, 1.4, 0.91), ("dance-like", 1.4, 2.1, 0.4)]
    assert transcript.language == "en"
    assert read(json.dumps({"segments": [segment]}), language="de").language == "de"


def test_segments_without_words_share_their_time() -> None:
    segments = [
        {"start": 1.0, "end": 2.0, "text": " Bees dance.", "speaker": "A"},
        {"start": 2.5, "end": 3.0, "text": " Yes.", "speaker": "B"},
    ]
    transcript = read(json.dumps({"segments": segments}), "original.json")
    found = [(word.text, word.start, word.speaker) for word in transcript.words]
    assert found == [("Bees", 1.0, "A"), ("dance.", 1.4, "A"), ("Yes.", 2.5, "B")]


def test_words_without_times_in_whisperx_json_fill_the_gaps() -> None:
    words = [
        {"word": "In", "start": 1.0, "end": 1.2, "score": 0.9, "speaker": "SPEAKER_00"},
        {"word": "1999", "speaker": "SPEAKER_00"},
        {"word": "bees", "start": 2.0, "end": 2.4, "score": 0.7},
    ]
    segment = {"start": 1, "end": 2.4, "text": "In 1999 bees", "words": words, "speaker": "S1"}
    transcript = read(json.dumps({"segments": [segment], "word_segments": words}))
    found = [(word.text, word.start, word.end, word.speaker) for word in transcript.words]
    assert found == [
        ("In", 1.0, 1.2, "SPEAKER_00"),
        ("1999", 1.2, 2.0, "SPEAKER_00"),
        ("bees", 2.0, 2.4, "S1"),
    ]


def test_the_json_of_whisper_cpp_is_read() -> None:
    segments = [
        {"offsets": {"from": 1000, "to": 2000}, "text": " (speaker 0) Bees"},
        {"offsets": {"from": 2000, "to": 3000}, "text": " [BLANK_AUDIO]"},
    ]
    transcript = read(json.dumps({"result": {"language": "en"}, "transcription": segments}))
    assert [(word.text, word.speaker) for word in transcript.words] == [("Bees", "speaker 0")]


def test_the_speakers_of_whisper_cpp_json_are_read() -> None:
    segments = [
        {"offsets": {"from": n * 1000, "to": n * 1000 + 900}, "text": text, "speaker": speaker}
        for n, (text, speaker) in enumerate([(" Bees.", "0"), (" Yes?", "1"), (" No.", "?")])
    ]
    transcript = read(json.dumps({"transcription": segments}))
    found = [(word.text, word.speaker) for word in transcript.words]
    assert found == [("Bees.", "Speaker 0"), ("Yes?", "Speaker 1"), ("No.", None)]


def cpp_segment(*tokens: tuple[str, int, int]) -> dict[str, object]:
    rows = [
        {"text": text, "offsets": {"from": start, "to": end}, "p": 0.9 - 0.1 * place}
        for place, (text, start, end) in enumerate(tokens)
    ]
    start = {"text": "[_BEG_]", "offsets": {"from": 0, "to": 0}, "p": 0.5}
    text = "".join(text for text, _, _ in tokens)
    return {"offsets": {"from": 0, "to": 3000}, "text": text, "tokens": [start, *rows]}


def test_the_tokens_of_whisper_cpp_are_the_times_of_words() -> None:
    segments = [
        cpp_segment((" The", 100, 300), (" har", 1300, 1500)),
        # Each segment of `-ml 1` is one token.
        cpp_segment(("bour", 1500, 1900)),
        cpp_segment((".", 1900, 1950), ("港", 2000, 2200), ("口", 2200, 2400)),
    ]
    transcript = read(json.dumps({"transcription": segments}))
    assert [(word.text, word.start, word.end) for word in transcript.words] == [
        ("The", 0.1, 0.3),
        ("harbour.", 1.3, 1.95),
        ("港", 2.0, 2.2),
        ("口", 2.2, 2.4),
    ]
    assert transcript.words[0].score == 0.9


@pytest.mark.parametrize("has_segments", [True, False])
def test_the_words_of_openai_json_have_the_punctuation_of_its_text(has_segments: bool) -> None:
    words = [
        {"word": word, "start": start, "end": start + 0.2}
        for word, start in [
            ("The", 0.1),
            ("harbour", 1.3),
            ("is", 1.9),
            ("old", 2.2),
            ("isnt", 3.5),
        ]
    ]
    value = {"task": "transcribe", "duration": 4.0, "words": words}
    value["text"] = "The harbour is old. Isn't it?"
    if has_segments:
        value["segments"] = [
            {"start": 0.0, "end": 3.0, "text": " The harbour is old."},
            {"start": 3.0, "end": 4.0, "text": " Isn't it?"},
        ]
    found = [(word.text, word.start) for word in read(json.dumps(value)).words]
    times = [
        ("The", 0.1),
        ("harbour", 1.3),
        ("is", 1.9),
        ("old.", 2.2),
        ("Isn't", 3.5),
        ("it?", 3.7),
    ]
    assert found == times


def test_a_segment_without_words_beside_others_is_read() -> None:
    segments = [
        {
            "start": 1.0,
            "end": 2.0,
            "text": "Bees",
            "words": [{"word": "Bees", "start": 1, "end": 2}],
        },
        {"start": 2.0, "end": 3.0, "text": "2024 it", "words": []},
    ]
    assert [word.text for word in read(json.dumps({"segments": segments})).words] == [
        "Bees",
        "2024",
        "it",
    ]


def test_the_json_of_deepgram_has_punctuation_speakers_and_channels() -> None:
    def channel(*words: tuple[str, float, int | None]) -> dict[str, object]:
        rows = [
            {"word": text.lower(), "punctuated_word": text, "start": at, "end": at + 0.5}
            | {"confidence": 0.99}
            | ({"speaker": speaker} if speaker is not None else {})
            for text, at, speaker in words
        ]
        return {"alternatives": [{"transcript": "", "confidence": 1, "words": rows}]}

    one = {"results": {"channels": [channel(("Hello.", 1.0, 0), ("Yes?", 2.0, 1))]}}
    found = [(word.text, word.speaker) for word in read(json.dumps(one)).words]
    assert found == [("Hello.", "Speaker 0"), ("Yes?", "Speaker 1")]
    two = {"results": {"channels": [channel(("Hello.", 1.0, None)), channel(("So.", 0.5, None))]}}
    found = [(word.text, word.speaker) for word in read(json.dumps(two)).words]
    assert found == [("So.", "Channel 1"), ("Hello.", "Channel 0")]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"segments": [{"start": -1, "end": 2, "text": "a"}]}, r"segments\.0\.start"),
        ({"segments": [{"start": 0, "end": LONGEST + 1, "text": "a"}]}, r"segments\.0\.end"),
        ({"results": {"channels": [{"alternatives": []}]}}, r"channels\.0\.alternatives"),
        ({"transcription": [{"text": "a"}]}, r"transcription\.0\.offsets"),
        ({"videos": []}, "is not the JSON of"),
        ({"jobName": "a", "results": {"transcripts": [], "items": []}}, "is not the JSON of"),
        ([{"word": "a", "start": 0}], "word 1 is not valid: end"),
    ],
)
def test_invalid_json_is_rejected_with_its_field(value: object, fault: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"original\.json.*{fault}"):
        read(json.dumps(value), "original.json")


@pytest.mark.parametrize("kind", ["whisper", "clipflow", "deepgram"])
def test_descriptions_of_sounds_in_json_are_not_words(kind: str) -> None:
    texts = ["♪", "[bright", "music]", "Bees", "(laughs)", "dance.", ">>", "[Applause]", "♪Yes♪"]
    words = [
        {"word": f" {text}" if kind == "whisper" else text, "start": float(at), "end": at + 0.5}
        for at, text in enumerate(texts)
    ]
    value: object = words
    if kind == "whisper":
        value = {"segments": [{"start": 0, "end": 9, "text": "", "words": words}]}
    if kind == "deepgram":
        value = {"results": {"channels": [{"alternatives": [{"words": words}]}]}}
    transcript = read(json.dumps(value), "original.json")
    found = [(word.text, word.start) for word in transcript.words]
    assert found == [("Bees", 3.0), ("dance.", 5.0), ("Yes", 8.0)]
