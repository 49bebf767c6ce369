"""The moments of a transcript: by salience, or by the language model that the settings name."""

from clipflow.domain.errors import NoMomentsError
from clipflow.domain.shorts import Moment
from clipflow.domain.transcript import Transcript
from clipflow.highlights.bounds import everything, moments
from clipflow.highlights.brief import Brief, Choice
from clipflow.highlights.speech import Speech
from clipflow.settings import models

__all__ = ["Brief", "pick"]


def pick(transcript: Transcript, brief: Brief) -> list[Moment]:
    """The best moments, best first: `brief.count`, or as many as there are good ones, even none.

    What `bounds.moments` says of their length and overlap holds for both ways. But a video shorter
    than the target is one moment with all that is said in it, even where that is too short. Not
    to be called where an event loop runs.

    Raises NoMomentsError where nothing is said; with a language model, what `model.choices` raises.
    """
    speech = Speech.of(transcript.words, brief)
    if not speech.pieces:
        raise NoMomentsError(
            "No moment can be chosen: nothing is said in the video.",
            "Name a video with speech in it; for one with speech, set its language.",
        )
    if speech.length < speech.target:
        return [everything(speech)]
    return moments(speech, _choices(speech, transcript.language, brief.count), brief.count)


def _choices(speech: Speech, language: str | None, count: int) -> list[Choice]:
    # scikit-learn and pydantic-ai take a second each to import: a flow's start does not pay it.
    name = models().highlight_model
    if not name:
        from clipflow.highlights import salience

        return salience.choices(speech, count, language)
    from clipflow.highlights import model

    return model.choices(speech, count, name)
