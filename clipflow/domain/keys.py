"""Where things are: keys of the table and keys of the bucket."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipKeys:
    """Every key of one clip. `prefix` stands before its object keys and may hold `{tenantId}`."""

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

    def segment(self, index: int) -> str:
        """Segment `index`, from 0, in play order."""
        return f"{self._folder}/segments/{index}.mp4"

    @property
    def clip(self) -> str:
        return f"{self._folder}/clip.mp4"

    @property
    def _folder(self) -> str:
        return f"{expand(self.prefix, self.tenant_id)}{self.episode_id}/clips/{self.clip_id}"


CLIP_SORT_PREFIX = "clip#"
TRACK_SORT_PREFIX = "track#"


def partition(tenant_id: str, episode_id: str) -> str:
    """The table partition that holds an episode's clips and tracks."""
    return f"{tenant_id}#{episode_id}"


def clip_sort_key(clip_id: str) -> str:
    return f"{CLIP_SORT_PREFIX}{clip_id}"


def main_track_candidates(tenant_id: str, episode_id: str, prefix: str) -> list[str]:
    """Where an episode without track records keeps its only track, the tenant's own place first."""
    key = f"{episode_id}/tracks/main.mp4"
    return list(dict.fromkeys([expand(prefix, tenant_id) + key, key]))


def expand(prefix: str, tenant_id: str) -> str:
    return prefix.replace("{tenantId}", tenant_id)
