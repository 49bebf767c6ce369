"""Files of `clipflow`: results in the folder of a user, and files that a user provides."""

import json
import os
import resource
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from clipflow.domain.errors import InvalidInputError
from clipflow.domain.keys import ClipKeys, ShortsKeys
from clipflow.domain.shorts import ShortsConfig
from clipflow.domain.transcript import words_json
from clipflow.media.probe import probe_source
from clipflow.media.source import LocalSource
from clipflow.reframe.debug_video import CROP
from clipflow.storage.objects import ObjectStore
from clipflow.storage.records import RecordStore
from deployments.command.files import (
    OutputManifest,
    Results,
    check_no_playlist,
    download_results,
    read_brand,
    read_style,
    remove_results,
)
from deployments.command.output import Output, format_error
from deployments.command.shorts import Attachments, LocalVideo, print_results, write_debug_videos
from tests.made_media import make_source

SUBTITLES = "1\n00:00:01,000 --> 00:00:02,000\nHello there.\n"


@pytest.fixture
def keys(objects: ObjectStore, records: RecordStore, tmp_path: Path) -> ClipKeys:
    """The keys of a finished clip."""
    keys = ClipKeys("local", tmp_path.name, "talk")
    objects.put_text("the clip", keys.clip, {}, "video/mp4")
    objects.put_text("<html></html>", keys.page, {}, "text/html")
    records.table.put_item(Item={**keys.record, "s3Key": keys.clip})
    return keys


def test_a_result_replaces_its_own_earlier_version(keys: ClipKeys, tmp_path: Path) -> None:
    for _ in range(2):
        results = download_results(keys, tmp_path, "talk")
    assert [path.read_text() for path, _ in results.made] == ["the clip"]


def test_a_short_is_downloaded_with_its_thumbnail_and_neither_replaces_a_users_file(
    objects: ObjectStore, records: RecordStore, tmp_path: Path
) -> None:
    keys = ShortsKeys("local", tmp_path.name, "warehouse")
    objects.put_text("the short", keys.short(1), {}, "video/mp4")
    objects.put_text("the picture", keys.short_thumbnail(1), {}, "image/jpeg")
    thumbnail = {"s3Key": keys.short_thumbnail(1), "time": 2}
    short = {"index": 1, "s3Key": keys.short(1), "fileSize": 9, "thumbnail": thumbnail}
    other = {"index": 2, "s3Key": keys.short(1), "fileSize": 9}
    records.table.put_item(Item={**keys.record, "shorts": [short, other]})
    download_results(keys, tmp_path, "talk")
    assert (tmp_path / "talk-1.jpg").read_text() == "the picture"
    assert not (tmp_path / "talk-2.jpg").exists()
    (tmp_path / "talk-1.jpg").write_text("a cover of my own")
    with pytest.raises(InvalidInputError, match=r"talk-1\.jpg exists"):
        download_results(keys, tmp_path, "talk")


def test_a_result_does_not_replace_a_users_file(keys: ClipKeys, tmp_path: Path) -> None:
    user_file = tmp_path / "talk.mp4"
    user_file.write_text("the only copy")
    with pytest.raises(InvalidInputError, match=r"talk\.mp4 exists.* Move it, or .* --out"):
        download_results(keys, tmp_path, "talk")
    assert user_file.read_text() == "the only copy"


def test_an_edited_result_is_not_replaced(keys: ClipKeys, tmp_path: Path) -> None:
    [(path, _)] = download_results(keys, tmp_path, "talk").made
    path.write_text("the clip, with a title")
    with pytest.raises(InvalidInputError):
        download_results(keys, tmp_path, "talk")


def test_a_result_of_another_video_is_not_replaced(keys: ClipKeys, tmp_path: Path) -> None:
    download_results(keys, tmp_path, "talk")
    with pytest.raises(InvalidInputError):
        OutputManifest(tmp_path, ShortsKeys("local", "another", "")).check(["talk.mp4"])


def test_results_in_a_copied_folder_are_still_clipflows(keys: ClipKeys, tmp_path: Path) -> None:
    """A copy has other modification times, so the content decides."""
    before, after = tmp_path / "before", tmp_path / "after"
    download_results(keys, before, "talk")
    shutil.copytree(before, after, copy_function=shutil.copyfile)
    os.utime(after / "talk.mp4", ns=(1, 1))
    [(path, _)] = download_results(keys, after, "talk").made
    path.write_text("THE CLIP")
    with pytest.raises(InvalidInputError):
        download_results(keys, after, "talk")


def test_only_unchanged_results_are_removed(keys: ClipKeys, tmp_path: Path) -> None:
    """`make demo` removes what an earlier demo has left, for whichever job that was."""
    [(path, _)] = download_results(keys, tmp_path, "talk").made
    own, page = tmp_path / "own.mp4", tmp_path / "talk.html"
    own.write_text("the only copy")
    page.write_text("a page with notes of mine")
    assert remove_results(tmp_path, [path.name, page.name, own.name, "none"]) == [page, own]
    assert sorted(tmp_path.glob("[!.]*")) == [own, page]


def test_a_name_of_the_maximum_length_works(keys: ClipKeys, tmp_path: Path) -> None:
    name = "語" * 83
    [(path, _)] = download_results(keys, tmp_path, name).made
    assert path.read_text() == "the clip"
    assert {path.name for path in tmp_path.glob("[!.]*")} == {f"{name}.mp4", f"{name}.html"}


def test_a_full_disk_is_reported_with_the_file(keys: ClipKeys, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            download_results(keys, tmp_path, "talk")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    _, message, _ = format_error(raised.value)
    assert message == f"{tmp_path / 'talk.mp4'}: File too large."
    assert list(tmp_path.glob("*")) == []


def test_the_page_of_a_job_is_found_whatever_the_name_of_its_results(
    keys: ClipKeys, tmp_path: Path
) -> None:
    page = download_results(keys, tmp_path, "my own name").page
    assert OutputManifest(tmp_path, keys).page() == page
    assert OutputManifest(tmp_path, ClipKeys("local", "another", "clip")).page() is None


def test_a_page_that_was_removed_comes_back_under_its_name(keys: ClipKeys, tmp_path: Path) -> None:
    page = download_results(keys, tmp_path, "my own name").page
    assert page
    page.unlink()
    assert OutputManifest(tmp_path, keys).name() == "my own name"
    assert OutputManifest(tmp_path, ClipKeys("local", "another", "clip")).name() is None


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf#EXTM3U\n",
        b"ffconcat version 1.0\nfile 1.mp4\n",
        b'<?xml version="1.0"?>\n<!-- a recorder -->\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">',
    ],
)
def test_a_file_that_only_names_the_files_of_a_video_is_refused(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "talk").write_bytes(content)
    with pytest.raises(InvalidInputError, match="only names the files of a video"):
        check_no_playlist(tmp_path / "talk")


@pytest.fixture
def video(storage: None, tmp_path: Path) -> LocalVideo:
    return LocalVideo.of(make_source(tmp_path / f"{tmp_path.name}.mp4", seconds=1, sound=None))


def test_subtitles_apply_only_to_their_run(video: LocalVideo, tmp_path: Path) -> None:
    subtitles, config = tmp_path / "talk.srt", ShortsConfig(segment_count=1)
    subtitles.write_text(SUBTITLES)
    video.upload(config, Attachments(subtitles=subtitles))
    assert video.objects.data(video.keys.subtitles, 1000) == SUBTITLES.encode()
    video.upload(config, Attachments())
    assert video.objects.head(video.keys.subtitles) is None


def test_a_debug_video_has_the_layout_and_the_view_of_the_shorts_edit(
    video: LocalVideo, tmp_path: Path
) -> None:
    edit = {"layout": "crop", "framing": [{"start": 0, "end": 1, "place": {"x": 0.1, "y": 0.5}}]}
    edits = {"version": 1, "shorts": {"m0-1000": edit}}
    video.objects.put_text(json.dumps(edits), video.keys.edits, {}, "application/json")
    video.objects.put_text(words_json([]), video.keys.words, {}, "application/json")
    config = ShortsConfig.read({"segment_count": 1, "layout": "fit"}, "the config")
    record = {"id": "m0-1000", "start": "00:00:00", "end": "00:00:01"}
    results = Results([(tmp_path / "talk-1.mp4", record)], None)
    write_debug_videos(video.path, config, results, Output(as_json=True))
    with av.open(str(tmp_path / "talk-1.framing.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    # The right edge of a crop of 9:16 at the left of 320x180, which `fit` has not.
    away = np.abs(picture[60:150] - np.array(CROP[::-1])).max(axis=2).mean(axis=0)
    assert abs(int(away.argmin()) - 100) <= 4 and away.min() < 60


def test_the_document_of_a_short_has_its_framing(tmp_path: Path) -> None:
    framing = {"speakerInFrame": 0.98, "confidence": 0.5, "cuts": 0, "layouts": []}
    output = Output(as_json=True)
    record = {"index": 1, "start": "0", "end": "1", "score": 1, "title": "", "framing": framing}
    print_results(Results([(tmp_path / "talk-1.mp4", record)], None), output)
    assert output.document["shorts"][0]["framing"] == framing


def test_subtitles_of_a_user_are_kept(video: LocalVideo) -> None:
    video.objects.put_text(SUBTITLES, video.keys.subtitles, {}, "application/x-subrip")
    video.upload(ShortsConfig(segment_count=1), Attachments())
    assert video.objects.head(video.keys.subtitles)


def test_invalid_subtitles_are_rejected_before_any_upload(
    video: LocalVideo, tmp_path: Path
) -> None:
    subtitles = tmp_path / "talk.srt"
    subtitles.write_bytes("1\n00:00:01,000 --> 00:00:02,000\nCaf\xe9.\n".encode("latin-1"))
    with pytest.raises(InvalidInputError, match=r"talk\.srt"):
        video.upload(ShortsConfig(segment_count=1), Attachments(subtitles=subtitles))
    assert video.objects.head(video.keys.original) is None


def test_a_style_and_a_brand_are_uploaded_with_their_files(
    video: LocalVideo, tmp_path: Path
) -> None:
    style, brand = tmp_path / "style.json", tmp_path / "brand.json"
    style.write_text('{"font": "own.ttf"}')
    brand.write_text('{"logo": {"file": "logo.png"}, "music": {"file": "music.mp3"}}')
    config = ShortsConfig(segment_count=1)
    with pytest.raises(InvalidInputError, match=r"font: there is no file .*own\.ttf"):
        video.upload(config, Attachments(style=read_style(style)))
    with pytest.raises(InvalidInputError, match=r"logo\.file: there is no file .*logo\.png"):
        video.upload(config, Attachments(brand=read_brand(brand)))
    assert video.objects.head(video.keys.original) is None
    for name in ("own.ttf", "logo.png", "music.mp3"):
        (tmp_path / name).write_text(name)
    video.upload(config, Attachments(style=read_style(style), brand=read_brand(brand)))
    stored = json.loads(video.objects.text(video.keys.config, 10_000))
    text = json.loads(video.objects.text(stored["caption_style"], 10_000))
    font = f"{stored['caption_style'].rpartition('/')[0]}/{text['font']}"
    assert video.objects.text(font, 100) == "own.ttf"
    assert video.objects.text(stored["brand"]["logo"]["file"], 100) == "logo.png"
    assert video.objects.text(stored["brand"]["music"]["file"], 100) == "music.mp3"
    assert ShortsConfig.read(stored, "the config").caption_style == stored["caption_style"]


def test_a_file_whose_name_has_a_colon_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = make_source(tmp_path / "talk.mp4", seconds=1, sound=None)
    # This starts the server process from which decoding processes are forked, in another folder.
    probe_source(LocalSource(talk))
    talk.rename(tmp_path / "12:30 talk.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe_source(LocalSource(Path("12:30 talk.mp4"))).duration == 1
