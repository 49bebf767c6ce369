"""What a language model's failures mean: try again later, or not at all. Nothing of a key is told.

A server's own words stay out of the message, since some repeat the key they were sent.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError
from pydantic_ai import exceptions as failures

from clipflow.domain.errors import ModelRefusedError, ModelUnavailableError

# HTTP statuses of the 4xx that another try may turn: timeout, too early, too many requests.
_PASSING = (408, 425, 429)
# What pydantic-ai knows to pass whatever the status, such as AWS's 403 while a subscription begins.
_MAY_PASS = (
    failures.ModelRateLimitError,
    failures.ModelUnavailableError,
    failures.ModelServerError,
    failures.ModelConnectionError,
    failures.ModelRequestTimeout,
)
# A provider's own code for what is wrong, such as `invalid_api_key`; a key has digits in it.
_CODE = re.compile(r"[A-Za-z_]{3,60}")
_REMEDIES = {
    401: "Set the provider's API key in the environment (OPENAI_API_KEY, …) to a valid one.",
    402: "Add credit to the provider's account, or name another model.",
    403: "Give the key or the AWS role the right to use this model, or name another model.",
    404: "Set CLIPFLOW_HIGHLIGHT_MODEL to a model that the server has, and check its base URL; "
    "for a server that knows only chat completions write openai-chat:… in place of openai:….",
}
_NAMING = (
    "Set CLIPFLOW_HIGHLIGHT_MODEL to provider:model, such as openai:gpt-5-mini, and the provider's "
    "key or URL in the environment; without it, moments are chosen by salience."
)
_ANOTHER = "Name another model in CLIPFLOW_HIGHLIGHT_MODEL, one that can call tools."


@contextmanager
def telling_failures(model: str) -> Iterator[None]:
    """Turn what pydantic-ai raises while `model` is asked into ModelRefusedError or
    ModelUnavailableError."""
    # Without their causes: these hold the server's words, and a log shows them.
    try:
        yield
    except (failures.UserError, ImportError) as error:
        raise ModelRefusedError(
            f"{model} cannot be asked: {_brief(str(error))}.", _NAMING
        ) from None
    except BotoCoreError as error:
        # Credentials or a region are missing; what AWS answers comes as a ModelAPIError.
        raise ModelRefusedError(
            f"{model} cannot be asked: {type(error).__name__}.",
            "Give this process AWS credentials and a region.",
        ) from None
    except failures.ModelAPIError as error:
        raise _answered(model, error) from None
    except failures.UnexpectedModelBehavior as error:
        raise ModelUnavailableError(
            f"{model} did not name moments in the form asked for: {_brief(error.message)}.",
            _ANOTHER,
        ) from None


def _answered(
    model: str, error: failures.ModelAPIError
) -> ModelRefusedError | ModelUnavailableError:
    status = error.status_code if isinstance(error, failures.ModelHTTPError) else None
    said = [f"HTTP {status}" if status else type(error).__name__]
    codes = {error.provider_error_code, error.provider_error_type}
    said += sorted(code for code in codes if code and _CODE.fullmatch(code))
    message = f"{model} did not answer: {', '.join(said)}."
    if isinstance(error, failures.ModelContextWindowExceededError):
        return ModelRefusedError(message, "Name a model that reads 8 000 tokens or more.")
    if isinstance(error, failures.ModelQuotaExceededError):
        return ModelRefusedError(message, _REMEDIES[402])
    if _is_final(error, status):
        return ModelRefusedError(message, _REMEDIES.get(status or 0, _ANOTHER))
    return ModelUnavailableError(
        message, "The provider may be overloaded or out of reach: try later."
    )


def _is_final(error: failures.ModelAPIError, status: int | None) -> bool:
    if isinstance(error, _MAY_PASS) or status in _PASSING:
        return False
    refused = isinstance(error, failures.ModelRequestRejectedError)
    return refused or (status is not None and 400 <= status < 500)


def _brief(text: str) -> str:
    # The first line, without the library's hint to its developers.
    return text.partition("\n")[0].partition(" To try Pydantic AI")[0].rstrip(". ")
