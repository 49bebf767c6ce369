"""JSON in each encoding that editors use, and the error that names invalid fields."""

import pytest

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import parse_json
from clipflow.domain.shorts import ShortsConfig

CONFIG = '{"segment_count": 2, "layout": "blur"}\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_every_unicode_encoding_is_read(encoding: str) -> None:
    value = parse_json(CONFIG.encode(encoding), "the config")
    assert ShortsConfig.read(value, "the config").segment_count == 2


def test_a_byte_order_mark_in_front_of_text_is_not_part_of_it() -> None:
    assert parse_json("\ufeff[1]", "the list") == [1]
    assert parse_json("\n\ufeff\ufeff[1]".encode(), "the list") == [1]


def test_all_invalid_fields_are_named_in_one_error() -> None:
    text = '{"segment_count": "2", "layout": "sideways", "caption_style": 3}'
    with pytest.raises(InvalidInputError) as caught:
        ShortsConfig.read(parse_json(text, "the config"), "the config")
    for field in ("segment_count", "layout", "caption_style"):
        assert field in caught.value.message


def test_fields_beyond_the_described_errors_are_named_too() -> None:
    numbers = ("segment_count", "layout", "aspect", "hook", "tighten", "topics")
    texts = ("brand", "language", "durations", "range", "audio_track")
    wrong: dict[str, object] = {**dict.fromkeys(numbers, 0), **dict.fromkeys(texts, "?")}
    with pytest.raises(InvalidInputError) as caught:
        ShortsConfig.read(wrong, "the config")
    assert [field for field in wrong if field not in caught.value.message] == []
    assert "tuple" not in caught.value.message and "function" not in caught.value.message


def test_the_number_of_a_speakers_track_may_be_text() -> None:
    config = {"segment_count": 1, "speaker_tracks": {"Ann": "0", "Bob": "b/bob.wav"}}
    tracks = ShortsConfig.read(config, "the config").speaker_tracks
    assert tracks == {"Ann": 0, "Bob": "b/bob.wav"}
