"""Keys of the records in the table and of the objects in the bucket."""

from dataclasses import dataclass
from typing import Protocol


class RecordKeys(Protocol):
    """The keys of something that has a status record: a clip, or a video's shorts."""

    @property
    def record(self) -> dict[str, str]:
        """Its key in the table."""

    @property
    def label(self) -> str:
        """Its name in messages: `clip c-1`."""


@dataclass(frozen=True)
class ClipKeys:
    """Every key of one clip. Object keys begin with `prefix`, which may contain `{tenantId}`."""

    tenant_id: str
    episode_id: str
    clip_id: str
    prefix: str = ""

    @property
    def record(self) -> dict[str, str]:
        return {
            "pk": partition(self.tenant_id, self.episode_id),
            "sk": clip_sort_key(self.clip_id),
        }

    @property
    def label(self) -> str:
        return f"clip {self.clip_id}"

    def segment(self, index: int) -> str:
        """Segment `index`, from 0, in play order."""
        return f"{self._folder}/segments/{index}.mp4"

    @property
    def clip(self) -> str:
        return f"{self._folder}/clip.mp4"

    @property
    def page(self) -> str:
        """The results page, beside the clip."""
        return f"{self._folder}/index.html"

    @property
    def _folder(self) -> str:
        return f"{expand(self.prefix, self.tenant_id)}{self.episode_id}/clips/{self.clip_id}"


@dataclass(frozen=True)
class ShortsKeys:
    """Every key of one long video and its shorts, which are numbered from 1, best first."""

    user_id: str
    video_id: str
    prefix: str

    @property
    def record(self) -> dict[str, str]:
        return {"pk": f"{self.user_id}#{self.video_id}", "sk": SHORTS_SORT_KEY}

    @property
    def label(self) -> str:
        return f"video {self.video_id}"

    @property
    def original(self) -> str:
        return self._key("original.mp4")

    @property
    def config(self) -> str:
        return self._key("shorts_config.json")

    @property
    def edits(self) -> str:
        """The changes that a person has made to words and shorts."""
        return self._key("edits.json")

    @property
    def thumbnail(self) -> str:
        return self._key("thumbnail.png")

    @property
    def subtitles(self) -> str:
        return self._key("original.srt")

    @property
    def supplied_subtitles(self) -> tuple[str, ...]:
        """The keys where a user may put subtitles. The first that exists is used.

        clipflow writes its own subtitles to the first of these keys.
        """
        return (self.subtitles, self._key("original.vtt"), self._key("original.json"))

    @property
    def text(self) -> str:
        return self._key("original.txt")

    @property
    def words(self) -> str:
        return self._key("original.words.json")

    @property
    def windows(self) -> str:
        """The windows in which the audio is transcribed, and the language."""
        return self._key("transcript/windows.json")

    @property
    def channel_levels(self) -> str:
        """The loudness of two channels with one speaker each."""
        return self._key("transcript/levels.bin")

    def window_sound(self, number: int) -> str:
        return self._key(f"transcript/window_{number}.flac")

    def window_words(self, number: int) -> str:
        return self._key(f"transcript/window_{number}.words.json")

    @property
    def moments(self) -> str:
        return self._key("important_segments_videos.json")

    def segment(self, number: int) -> str:
        return self._key(f"important-segment-videos/segment_{number}.mp4")

    def segment_subtitles(self, number: int) -> str:
        return self._key(f"important-segment-videos/segment_{number}.srt")

    def post(self, number: int) -> str:
        """The text that is posted with a short."""
        return self._key(f"important-segment-videos/segment_{number}.json")

    def frame_plan(self, number: int) -> str:
        """The layouts and crops of a short, so that new captions need no new analysis."""
        return self._key(f"reframe/segment_{number}.json")

    def tightening(self, number: int) -> str:
        """The list of what is taken out of a tightened short, and of what a person has put back."""
        return self._key(f"tightening/segment_{number}.json")

    def short(self, number: int) -> str:
        return self._key(f"videos-cropped-stacked/segment_{number}_cropped_stacked.mp4")

    def short_thumbnail(self, number: int) -> str:
        """A frame of the short, for use as its cover."""
        return self._key(f"videos-cropped-stacked/segment_{number}_cropped_stacked.jpg")

    @property
    def page(self) -> str:
        """The results page, in the video's folder."""
        return self._key("index.html")

    @property
    def folder(self) -> str:
        return f"{self.prefix}/{self.user_id}/{self.video_id}".lstrip("/")

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}"


CLIP_SORT_PREFIX = "clip#"
SHORTS_SORT_KEY = "shorts"
TRACK_SORT_PREFIX = "track#"


def partition(tenant_id: str, episode_id: str) -> str:
    """The table partition that holds an episode's clips and tracks."""
    return f"{tenant_id}#{episode_id}"


def clip_sort_key(clip_id: str) -> str:
    return f"{CLIP_SORT_PREFIX}{clip_id}"


def record_keys(pk: str, sk: str) -> RecordKeys | None:
    """The keys of the clip or video whose record has this key; None if it is neither.

    They lack the prefix of object keys, so only `record` and `label` may be used.
    """
    first, hash_mark, second = pk.partition("#")
    clip = sk.removeprefix(CLIP_SORT_PREFIX)
    if not (first and hash_mark and second and clip):
        return None
    if sk == SHORTS_SORT_KEY:
        return ShortsKeys(first, second, prefix="")
    return ClipKeys(first, second, clip) if clip != sk else None


def main_track_candidates(tenant_id: str, episode_id: str, prefix: str) -> list[str]:
    """Candidate keys of the only track of an episode without track records, prefixed ones first."""
    key = f"{episode_id}/tracks/main.mp4"
    return list(dict.fromkeys([expand(prefix, tenant_id) + key, key]))


def expand(prefix: str, tenant_id: str) -> str:
    return prefix.replace("{tenantId}", tenant_id)
