"""Which settings and inputs change the fingerprint of which product."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from clipflow.domain.brands import Brand, Music
from clipflow.domain.caption_styles import packaged_style
from clipflow.domain.clips import Segment
from clipflow.domain.layouts import Aspect, Layout
from clipflow.domain.shorts import Moment, ShortsConfig
from clipflow.domain.transcript import Word
from clipflow.jobs import fingerprints
from clipflow.jobs.fingerprints import Looks
from clipflow.jobs.segment import find_source
from clipflow.media.output_format import OutputFormat
from clipflow.media.probe import Colour
from clipflow.media.window import Span
from clipflow.settings import Models, Transcriber
from clipflow.speech.transcriber import TRANSCRIBERS
from clipflow.storage.objects import ObjectHead, object_store

VIDEO = ObjectHead("original.mp4", "video", 1, {})
WORDS = ObjectHead("words.json", "words", 1, {"language": "en"})
BACKGROUND = ObjectHead("below.mp4", "background", 1, {})
FONT = ObjectHead("own.ttf", "font", 1, {})
MUSIC = ObjectHead("music.mp3", "music", 1, {})
SUBTITLES = ObjectHead("original.srt", "subtitles", 1, {})
MOMENT = Moment.read({"start": 1, "end": 2, "score": 3, "why": "", "title": ""}, "a moment")
CONFIG = ShortsConfig.model_validate({"segment_count": 3})
# Every setting with its default, regardless of the environment in which the tests run.
MODELS = Models.model_construct(
    **{name: field.get_default() for name, field in Models.model_fields.items()}
)


def products(
    models: Models = MODELS,
    config: ShortsConfig = CONFIG,
    *,
    video: ObjectHead = VIDEO,
    supplied: ObjectHead | None = None,
    words: ObjectHead = WORDS,
    background: ObjectHead | None = BACKGROUND,
    text: str = "hello",
    environment: dict[str, str] | None = None,
    looks: Looks | None = None,
) -> dict[str, str]:
    """The fingerprint of each of a video's products."""
    spoken = [Word.model_construct(text=text, start=0.0, end=1.0)]
    return {
        "transcript": fingerprints.of_transcript(
            video,
            supplied,
            config.language,
            config.audio_track,
            models,
            config.speaker_tracks,
        ),
        "moments": fingerprints.of_moments(video, words, config, models, environment or {}),
        "short": fingerprints.of_short(
            video,
            background,
            MOMENT,
            spoken,
            config,
            models,
            looks
            or Looks(
                packaged_style(config.caption_style),
                hook="hook" if config.hook else None,
                brand=config.brand if isinstance(config.brand, Brand) else None,
                files={"music.file": MUSIC},
            ),
        ),
    }


def changed_products(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


WHISPERX = MODELS.model_copy(update={"transcriber": Transcriber.WHISPERX})
MODEL_SETTINGS: dict[str, list[tuple[Models, Any, set[str]]]] = {
    "transcriber": [(MODELS, Transcriber.WHISPERX, {"transcript"})],
    "whisper_model": [(MODELS, "another", {"transcript"})],
    "whisperx_align_model": [(WHISPERX, "another", {"transcript"}), (MODELS, "another", set())],
    # Only whether there is a token counts, because the transcript does not depend on its value.
    "hugging_face_token": [
        (WHISPERX, SecretStr("token"), {"transcript"}),
        (MODELS, SecretStr("token"), set()),
    ],
    "face_model": [(MODELS, Path(__file__), {"short"})],
    "mouth_model": [(MODELS, Path(__file__), {"short"})],
    "highlight_model": [(MODELS, "openai:another", {"moments"})],
}
CONFIG_FIELDS: dict[str, tuple[Any, set[str]]] = {
    "segment_count": (4, {"moments"}),
    "target_seconds": (30, {"moments"}),
    "user_id": ("somebody", set()),
    "video_id": ("something", set()),
    "background_video": ("another.mp4", {"short"}),
    "layout": (Layout.CROP, {"short"}),
    "aspect": (Aspect.WIDE, {"short"}),
    "caption_style": ("plain", {"short"}),
    "hook": (True, {"short"}),
    "brand": (Brand(music=Music(file="music.mp3")), {"short"}),
    "language": ("de", {"transcript", "moments"}),
    # Moments and shorts depend on the words, and therefore change with their speakers.
    "speaker_tracks": ({"Ada": 1, "Ben": 2}, {"transcript"}),
    "audio_track": (1, {"transcript", "short"}),
    # The job adds the cuts to the fingerprint of a short, if it is tightened.
    "tighten": (True, set()),
    # Instructions are for a language model, and none is configured.
    "instructions": ("Only jokes.", set()),
    "topics": (("clips",), {"moments"}),
    "video_range": ((Fraction(60), Fraction(90)), {"moments"}),
    "durations": ((20.0, 40.0), {"moments"}),
}


def test_every_setting_of_the_models_and_every_field_of_the_config_is_tested() -> None:
    assert MODEL_SETTINGS.keys() == Models.model_fields.keys()
    assert CONFIG_FIELDS.keys() == ShortsConfig.model_fields.keys()


@pytest.mark.parametrize("setting", MODEL_SETTINGS)
def test_a_setting_changes_only_the_products_that_depend_on_it(setting: str) -> None:
    for models, value, expected in MODEL_SETTINGS[setting]:
        changed = models.model_copy(update={setting: value})
        assert changed_products(products(models), products(changed)) == expected


@pytest.mark.parametrize("field", CONFIG_FIELDS)
def test_a_field_of_the_config_changes_only_the_products_that_depend_on_it(field: str) -> None:
    value, expected = CONFIG_FIELDS[field]
    changed = CONFIG.model_copy(update={field: value})
    assert changed_products(products(), products(config=changed)) == expected


def test_an_input_changes_only_the_products_that_depend_on_it() -> None:
    everything = {"transcript", "moments", "short"}
    before = products()
    for changed, expected in (
        (products(video=replace(VIDEO, etag="b")), everything),
        (products(supplied=SUBTITLES), {"transcript"}),
        (products(words=replace(WORDS, etag="b")), {"moments"}),
        (products(words=replace(WORDS, metadata={"language": "de"})), {"moments"}),
        (products(background=replace(BACKGROUND, etag="b")), {"short"}),
        (products(background=None), {"short"}),
        (products(text="goodbye"), {"short"}),
    ):
        assert changed_products(before, changed) == expected


def test_a_short_depends_on_the_content_of_its_style_and_not_on_keys() -> None:
    style, brand = packaged_style("punch"), Brand(music=Music(file="music.mp3"))
    looks = Looks(style, FONT, "hook", brand, {"music.file": MUSIC})
    before = products(looks=looks)
    assert style
    for changed, expected in (
        (replace(looks, style=style.model_copy(update={"size": 90})), {"short"}),
        (replace(looks, font=replace(FONT, etag="b")), {"short"}),
        (replace(looks, font=replace(FONT, key="b")), set()),
        (replace(looks, hook="another"), {"short"}),
        (replace(looks, files={"music.file": replace(MUSIC, etag="b")}), {"short"}),
        (replace(looks, brand=Brand(music=Music(file="moved.mp3"))), set()),
        (replace(looks, brand=Brand(music=Music(file="music.mp3", level=-30))), {"short"}),
    ):
        assert changed_products(before, products(looks=changed)) == expected


def test_the_words_of_a_window_depend_on_its_span_and_its_language() -> None:
    transcript = products()["transcript"]
    before = fingerprints.of_speech_window(transcript, 0, 100, "en")
    for changed in (
        fingerprints.of_speech_window("another", 0, 100, "en"),
        fingerprints.of_speech_window(transcript, 1, 100, "en"),
        fingerprints.of_speech_window(transcript, 0, 101, "en"),
        fingerprints.of_speech_window(transcript, 0, 100, "de"),
    ):
        assert changed != before
    assert fingerprints.of_speech_window(transcript, 0, 100, "en") == before


def test_another_video_with_the_same_subtitles_changes_the_moments() -> None:
    supplied = products(supplied=SUBTITLES)
    replaced = products(supplied=SUBTITLES, video=replace(VIDEO, etag="b"))
    assert changed_products(supplied, replaced) >= {"transcript", "moments"}


@pytest.mark.parametrize("server", fingerprints.MODEL_SERVERS)
def test_another_model_server_changes_the_moments(server: str) -> None:
    models = MODELS.model_copy(update={"highlight_model": "openai:model"})
    there = products(models, environment={server: "http://there"})
    assert changed_products(products(models), there) == {"moments"}
    # Without a language model, no server is called.
    assert changed_products(products(), products(environment={server: "http://there"})) == set()


def test_a_models_digest_depends_on_its_content_and_not_on_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, moved = tmp_path / "model", tmp_path / "moved"
    for folder in (model, moved):
        folder.mkdir()
        (folder / "weights.bin").write_bytes(bytes(3 << 20))
        (folder / "config.json").write_text("{}")
    assert fingerprints.file_digest(str(model)) == fingerprints.file_digest(str(moved))
    # The transcribers load a model from such a path, too.
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fingerprints.file_digest("~/model") == fingerprints.file_digest(str(model))
    (model / "weights.bin").write_bytes(bytes((3 << 20) - 1) + b"1")
    changed = fingerprints.file_digest(str(model))
    assert changed != fingerprints.file_digest(str(moved))
    (model / "config.json").rename(model / "other.json")
    assert fingerprints.file_digest(str(model)) != changed


@pytest.mark.parametrize(
    ("transcriber", "setting"),
    [(name, setting) for name, each in TRANSCRIBERS.items() for setting in each.model_settings],
)
def test_a_replaced_model_folder_changes_the_transcript(
    transcriber: Transcriber, setting: str, tmp_path: Path
) -> None:
    (tmp_path / "weights.bin").write_bytes(b"one")
    models = MODELS.model_copy(update={"transcriber": transcriber, setting: str(tmp_path)})
    before = products(models)
    (tmp_path / "weights.bin").write_bytes(b"other")
    assert changed_products(before, products(models)) == {"transcript"}


def test_a_layout_without_a_crop_does_not_depend_on_the_face_model() -> None:
    fit = Layout.FIT
    config = CONFIG.model_copy(update={"layout": fit})
    with_model = MODELS.model_copy(update={"face_model": Path(__file__)})
    assert changed_products(products(config=config), products(with_model, config)) == set()


def test_a_segment_depends_on_its_span_its_source_and_its_format() -> None:
    span = Span(Fraction(1), Fraction(2))
    target = OutputFormat(640, 360, Colour(), 48000, 2, "3.1")
    before = fingerprints.of_segment(VIDEO, span, target)
    assert before == fingerprints.of_segment(VIDEO, span, target)
    for changed in (
        fingerprints.of_segment(replace(VIDEO, etag="b"), span, target),
        fingerprints.of_segment(VIDEO, Span(Fraction(1), Fraction(3)), target),
        fingerprints.of_segment(VIDEO, span, replace(target, height=480)),
        fingerprints.of_segment(VIDEO, span, target, audio_track=1),
    ):
        assert changed != before


def test_a_clip_depends_on_its_spans_in_their_order_and_not_on_their_notes() -> None:
    one = Segment.read({"startTime": 1, "endTime": 2}, "a segment")
    two = Segment.read({"startTime": 3, "endTime": 4}, "a segment")
    before = fingerprints.of_clip([(one, VIDEO), (two, VIDEO)])
    assert fingerprints.of_clip([(two, VIDEO), (one, VIDEO)]) != before
    dubbed = one.model_copy(update={"audio_track": "de"})
    assert fingerprints.of_clip([(dubbed, VIDEO), (two, VIDEO)]) != before
    noted = one.model_copy(update={"notes": "a note", "text": "said"})
    assert fingerprints.of_clip([(noted, VIDEO), (two, VIDEO)]) == before


MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhigh/media.m3u8\n"
MEDIA = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n{}#EXT-X-ENDLIST\n".format(
    "".join(f"#EXTINF:2,\n{name}.ts\n" for name in "ab")
)


def _replace_chunk(put: Callable[[str, str], None]) -> None:
    put("hls/high/b.ts", "another")


def _replace_media_playlist(put: Callable[[str, str], None]) -> None:
    put("hls/high/media.m3u8", MEDIA.replace("b.ts", "a.ts"))


@pytest.mark.slow
@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("change", [_replace_chunk, _replace_media_playlist])
def test_the_etag_of_a_playlist_depends_on_all_objects_that_it_names(
    change: Callable[[Callable[[str, str], None]], None],
) -> None:
    objects = object_store()

    def put(key: str, text: str) -> None:
        objects.put_text(text, key, {}, "text/plain")

    put("hls/main.m3u8", MASTER)
    put("hls/high/media.m3u8", MEDIA)
    put("hls/high/a.ts", "a")
    put("hls/high/b.ts", "b")
    put("hls/high/c.ts", "somebody else's")
    before = find_source(["hls/main.m3u8"], objects).etag
    put("hls/high/c.ts", "changed")
    assert find_source(["hls/main.m3u8"], objects).etag == before
    change(put)
    assert find_source(["hls/main.m3u8"], objects).etag != before
