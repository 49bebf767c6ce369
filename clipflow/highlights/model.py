"""The best moments by a language model, through pydantic-ai: it names lines, never times.

A long transcript goes in several requests; what they name is then ranked by one more. pydantic-ai
takes a second to import, so whoever imports this module does it late.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from clipflow.highlights import prompt
from clipflow.highlights.brief import Choice
from clipflow.highlights.prompt import Request
from clipflow.highlights.refusals import telling_failures
from clipflow.highlights.speech import Speech
from clipflow.highlights.wording import shortened

# Seconds for one answer with the client's own retries: a local model without a GPU takes minutes.
REQUEST_TIMEOUT = 300.0
# Characters: what a record keeps of a reason.
_WHY_LIMIT = 500
# How often a model is told what was wrong with its answer.
_CORRECTIONS = 2


class Named(BaseModel):
    """One moment, by the numbers of its lines as they are shown."""

    first_line: int
    last_line: int
    score: Annotated[float, Field(ge=0, le=100)]
    why: str
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Answer(BaseModel):
    """The moments, best first; none where there is no good one."""

    moments: list[Named]


def choices(speech: Speech, count: int, model: str | Model) -> list[Choice]:
    """What `model` (as pydantic-ai names it, or one of its models) likes, best first.

    Raises ModelRefusedError where no model has that name, its key is missing or the server turns
    the request down; ModelUnavailableError where there is no answer, or none of the wanted form.
    """
    with telling_failures(str(model) if isinstance(model, str) else model.model_name):
        return asyncio.run(_choices(speech, count, model))


async def _choices(speech: Speech, count: int, model: str | Model) -> list[Choice]:
    agent = _agent(model)
    # Entered, so that its connections are closed before the event loop is.
    async with agent:
        windows = prompt.requests(speech, count)
        named = [one for window in windows for one in await _answer(agent, speech, window)]
        named.sort(key=lambda one: -one.score)
        if len(windows) > 1 and len(named) > 1:
            again = _ranking(speech, named, count)
            named = _ranked(await _answer(agent, speech, again), named)
    return [_choice(speech, one) for one in named]


def _agent(model: str | Model) -> Agent[Request, Answer]:
    agent = Agent(
        model,
        deps_type=Request,
        output_type=Answer,
        instructions=prompt.INSTRUCTIONS,
        retries=_CORRECTIONS,
        model_settings=ModelSettings(request_timeout=REQUEST_TIMEOUT),
    )

    @agent.output_validator
    def names_lines_that_are_shown(context: RunContext[Request], answer: Answer) -> Answer:
        request = context.deps
        for one in answer.moments:
            if not request.has(one.first_line - 1, one.last_line - 1):
                raise ModelRetry(_correction(one, request))
        return answer

    return agent


def _correction(one: Named, request: Request) -> str:
    shown = ", ".join(f"{run[0] + 1} to {run[-1] + 1}" for run in request.shown)
    return (
        f"Lines {one.first_line} to {one.last_line} are not lines that are shown: first_line must "
        f"not be after last_line, and both must be line numbers within one of: {shown}."
    )


async def _answer(agent: Agent[Request, Answer], speech: Speech, request: Request) -> list[Named]:
    result = await agent.run(prompt.text_of(request, speech), deps=request)
    return result.output.moments


def _ranking(speech: Speech, named: Sequence[Named], count: int) -> Request:
    """The best of what is named, each line once, as much as one request shows."""
    shown: list[range] = []
    left = prompt.WINDOW
    for one in named:
        run = range(one.first_line - 1, one.last_line)
        left -= sum(prompt.words_in(speech.lines[n]) for n in run)
        if shown and (left < 0 or len(shown) == prompt.MOST_ASKED):
            break
        shown.append(run)
    return Request(tuple(_joined(shown)), min(count, len(shown)))


def _joined(runs: Sequence[range]) -> list[range]:
    joined: list[range] = []
    for run in sorted(runs, key=lambda run: run.start):
        if joined and run.start < joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(run.stop, joined[-1].stop))
        else:
            joined.append(run)
    return joined


def _ranked(best: Sequence[Named], rest: Sequence[Named]) -> list[Named]:
    """`best` by their scores, then the others, which are worth no more than the last of these."""
    best = sorted(best, key=lambda one: -one.score)
    least = best[-1].score if best else 100.0
    places = {(one.first_line, one.last_line) for one in best}
    others = [one for one in rest if (one.first_line, one.last_line) not in places]
    return [*best, *(one.model_copy(update={"score": min(least, one.score)}) for one in others)]


def _choice(speech: Speech, one: Named) -> Choice:
    span = speech.covering(one.first_line - 1, one.last_line - 1)
    return Choice(span, one.score, " ".join(one.why.split())[:_WHY_LIMIT], shortened(one.title))
