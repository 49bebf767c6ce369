"""What nobody may read in a message, a log or a record: presigned queries and keys."""

import re

# A URL's query, and its user with a password.
_URL_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]+", re.IGNORECASE)
_URL_USER = re.compile(r"(https?://)[^\s/@'\"]+@", re.IGNORECASE)
# Some write the path of a URL alone, some a header or a variable.
_SIGNED_QUERY = re.compile(r"\?[^\s'\"]*X-Amz-[^\s'\"]*", re.IGNORECASE)
_NAMED_SECRET = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN"
    r"|authorization|(?:[a-z]+_)?api_key|HF_TOKEN)['\"]?\s*[=:]\s*)"
    r"(?:'[^']*'|\"[^\"]*\"|(?:(?:Bearer|Basic|AWS4-HMAC-SHA256)\s+)?[^\s&'\"]+)",
    re.IGNORECASE,
)
# An access key's id, as AWS makes them.
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")


def without_secrets(text: str) -> str:
    """`text` without the query of any URL, as a presigned URL's is a credential, nor any key."""
    for secret, instead in (
        (_URL_QUERY, r"\1?…"),
        (_URL_USER, r"\1…@"),
        (_SIGNED_QUERY, "?…"),
        (_NAMED_SECRET, r"\1…"),
        (_KEY_ID, "…"),
    ):
        text = secret.sub(instead, text)
    return text
