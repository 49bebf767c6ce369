"""A linter for the policies in the templates: each `*` needs a comment with its reason."""

from pathlib import Path

import pytest

from tests.infra.templates import ORDER, pairs, parse_nodes, scalars, templates

# The elements of a policy statement in which a `*` needs a reason.
CHECKED_ELEMENTS = ("Action", "NotAction", "Resource", "NotResource", "Principal")


def unexplained(text: str) -> list[str]:
    """The lines with a `*` in an action, a resource or a principal that has no comment.

    The comment may be directly above the key, between the key and the `*`, or on the same line.
    """
    lines = text.splitlines()
    return [
        lines[wildcard].strip()
        for key, wildcard in sorted(wildcards(text))
        if not any("#" in line for line in lines[key : wildcard + 1])
        and not lines[key - 1].strip().startswith("#")
    ]


def wildcards(text: str) -> set[tuple[int, int]]:
    """The line numbers of the key and of the value of each wildcard."""
    return {
        (key.start_mark.line, scalar.start_mark.line)
        for key, value in pairs(parse_nodes(text))
        if key.value in CHECKED_ELEMENTS
        for scalar in scalars(value)
        if "*" in scalar.value
    }


def test_every_template_is_in_the_deployment_order() -> None:
    assert {path.stem for path in templates()} == set(ORDER)


@pytest.mark.parametrize("template", templates(), ids=lambda path: path.name)
def test_every_wildcard_has_a_reason(template: Path) -> None:
    assert unexplained(template.read_text()) == []


@pytest.mark.parametrize("template", templates(), ids=lambda path: path.name)
def test_no_statement_uses_a_negated_element(template: Path) -> None:
    keys = {key.value for key, _ in pairs(parse_nodes(template.read_text()))}
    assert not keys & {"NotAction", "NotResource", "NotPrincipal"}


POLICY = """
Statement:
  - Effect: Allow
    Action: {action}
    Resource: {resource}
"""


@pytest.mark.parametrize(
    ("action", "resource", "found"),
    [
        ("s3:GetObject", "arn:aws:s3:::b/k", []),
        ("s3:*", "arn:aws:s3:::b/k", ["Action: s3:*"]),
        ("s3:* # all of it is ours", "arn:aws:s3:::b/k", []),
        ("s3:GetObject", '"*"', ['Resource: "*"']),
        ("s3:GetObject", "\n      - !Sub ${Arn}/*", ["- !Sub ${Arn}/*"]),
        ("s3:GetObject", "\n      # any user\n      - a\n      - !Sub ${Arn}/*", []),
        ("\n      # any\n      - s3:Get*", "'*'", ["Resource: '*'"]),
    ],
)
def test_the_linter_finds_wildcards_without_a_reason(
    action: str, resource: str, found: list[str]
) -> None:
    assert unexplained(POLICY.format(action=action, resource=resource)) == found
