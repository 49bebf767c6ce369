"""How sound is divided over machines, by the cost of the model that recognises it."""

from pathlib import Path

import numpy as np
import pytest

from clipflow.settings import Models
from clipflow.speech.audio import RATE
from clipflow.speech.model_cost import cpu_seconds_a_second, window_count
from clipflow.speech.transcriber import split_windows

MACHINES = 10


def models(name: str, transcriber: str = "whisper") -> Models:
    return Models.model_validate(
        {"CLIPFLOW_WHISPER_MODEL": name, "CLIPFLOW_TRANSCRIBER": transcriber}
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """37 minutes of noise with pauses."""
    path = tmp_path_factory.mktemp("sound") / "sound.raw"
    noise = np.random.default_rng(1).integers(-999, 999, 37 * 60 * RATE, dtype=np.int16)
    for second in range(5, 37 * 60, 7):
        noise[second * RATE : second * RATE + RATE // 2] = 0
    noise.tofile(path)
    return path


@pytest.mark.parametrize("name", ["base", "tiny", "/models/unknown"])
def test_fast_models_keep_windows_of_ten_minutes(name: str, sound: Path) -> None:
    windows = split_windows(sound, models(name), MACHINES)
    assert windows == split_windows(sound, models(name))
    assert len(windows) == 4


def test_a_slow_model_gets_ten_windows_that_are_cut_at_pauses(sound: Path) -> None:
    windows = split_windows(sound, models("large-v3"), MACHINES)
    assert windows == split_windows(sound, models("large-v3"), MACHINES)
    assert len(windows) == 10
    assert [window.start for window in windows[1:]] == [window.stop for window in windows[:-1]]
    assert windows[0].start == 0 and windows[-1].stop == 37 * 60 * RATE
    for window in windows[:-1]:
        # A pause begins at each fifth second of seven, and lasts half a second.
        assert 5 <= window.stop / RATE % 7 <= 5.5


def test_windows_are_not_so_short_that_sentences_are_cut_for_nothing() -> None:
    cost = cpu_seconds_a_second("large-v3")
    counts = [
        window_count(60 * minutes, cost, 570, MACHINES) for minutes in (1, 3, 4, 9, 20, 60, 180)
    ]
    assert counts == [1, 1, 2, 4, 10, 10, 19]


@pytest.mark.parametrize(("transcriber", "machines"), [("whisperx", MACHINES), ("whisper", 1)])
def test_one_machine_transcribes_windows_of_ten_minutes(
    transcriber: str, machines: int, sound: Path
) -> None:
    slow = models("large-v3", transcriber)
    assert len(split_windows(sound, slow, machines)) == 4


def test_no_sound_is_one_window(tmp_path: Path) -> None:
    silent = tmp_path / "sound.raw"
    silent.touch()
    assert split_windows(silent, models("large-v3"), MACHINES) == [range(0)]


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("Systran/faster-distil-whisper-large-v3", "distil-large-v3"),
        ("Systran/faster-whisper-large-v3", "large-v3"),
        ("/srv/medium/base", "base"),
        ("/models/large-v3/", "large-v3"),
    ],
)
def test_models_are_known_by_the_name_of_their_folder_or_on_the_hub(name: str, like: str) -> None:
    assert cpu_seconds_a_second(name) == cpu_seconds_a_second(like)


def test_larger_models_cost_more() -> None:
    names = ("tiny", "base", "small", "medium", "large-v3")
    costs = [cpu_seconds_a_second(name) for name in names]
    assert costs == sorted(costs) and costs[1] == 0.147
    assert costs[3] < cpu_seconds_a_second("large-v3-turbo") < costs[4]
