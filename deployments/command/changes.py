"""The options of `clipflow edit`, as changes of a document of edits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from clipflow.domain.edits import Edits, Place, View
from clipflow.domain.errors import InvalidInputError
from clipflow.domain.model import describe_errors
from clipflow.domain.shorts import Moment
from clipflow.domain.timecode import parse_span
from clipflow.domain.transcript import Word

_Values = Sequence[str] | None


@dataclass(frozen=True)
class ShortChange:
    """The new values of fields of one short; None restores the value that was chosen.

    `name` is the short's number or id.
    """

    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Trim:
    """The seconds by which a short's start and end are moved: later if positive, else earlier."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Changes:
    """The changes that one call of the command makes, in the order in which they are applied."""

    resets: tuple[str, ...]
    shorts: tuple[ShortChange, ...]
    trims: tuple[Trim, ...]
    views: tuple[tuple[str, View], ...]
    replacements: Mapping[str, str]
    words: Mapping[int, str]
    # The name of a short, the id of a removal, and whether it is put back.
    restored: tuple[tuple[str, str, bool], ...] = ()

    @classmethod
    def parse(
        cls,
        *,
        texts: Mapping[str, _Values],
        names: Mapping[str, _Values],
        decisions: Mapping[str, _Values],
        trim: _Values,
        framing: _Values,
        reset: _Values,
        replace: _Values,
        word: _Values,
        tighten: _Values = None,
        restore: _Values = None,
        remove: _Values = None,
    ) -> Self:
        """Read the options. Raises InvalidInputError, which names the option that is not valid.

        `texts` and `names` have the values of options such as `--title` and `--layout`, by field;
        `decisions` has the shorts by decision.
        """
        shorts = [
            ShortChange(name, {field: _value(field, value)})
            for field, values in {**texts, **names}.items()
            for name, value in _pairs(values, f"--{_OPTIONS.get(field, field)}", "N=VALUE")
        ]
        shorts += [
            ShortChange(name, {"decision": decision})
            for decision, values in decisions.items()
            for name in values or ()
        ]
        shorts += [
            ShortChange(name, {"tighten": _switch(value)})
            for name, value in _pairs(tighten, "--tighten", "N=on")
        ]
        return cls(
            resets=tuple(reset or ()),
            shorts=tuple(shorts),
            trims=tuple(_trim(*pair) for pair in _pairs(trim, "--trim", "N=START,END")),
            views=tuple(
                (name, _view(value))
                for name, value in _pairs(framing, "--framing", "N=START-END:WHO")
            ),
            replacements=dict(_pairs(replace, "--replace", "TEXT=TEXT")),
            words={_number(name): text for name, text in _pairs(word, "--word", "W=TEXT")},
            restored=(
                *((*pair, True) for pair in _pairs(restore, "--restore", "N=ID")),
                *((*pair, False) for pair in _pairs(remove, "--remove", "N=ID")),
            ),
        )

    def apply(self, edits: Edits, moments: Sequence[Moment], words: Sequence[Word]) -> Edits:
        """The edits with these changes. `words` are those recognised, and `moments` as chosen.

        Raises InvalidInputError for a short or a word that is not there, and for a value that
        `Edits` refuses.
        """
        document = edits.document()
        shorts: dict[str, dict[str, Any]] = document.setdefault("shorts", {})
        for name in self.resets:
            shorts.pop(_moment(name, moments).id or "", None)
        for change in self.shorts:
            fields = shorts.setdefault(_moment(change.name, moments).id or "", {})
            fields.update(change.fields)
        for trim in self.trims:
            moment = _moment(trim.name, moments)
            shorts.setdefault(moment.id or "", {})["span"] = _trimmed(trim, moment, edits, words)
        for name, view in self.views:
            fields = shorts.setdefault(_moment(name, moments).id or "", {})
            shown = view.model_dump(mode="json", exclude_none=True)
            fields["framing"] = [*fields.get("framing", []), shown]
        for name, id, is_restored in self.restored:
            fields = shorts.setdefault(_moment(name, moments).id or "", {})
            kept = {**fields.get("restored", {})}
            kept.pop(id, None)
            if is_restored:
                kept[id] = _removal_word(id, words)
            fields["restored"] = kept or None
        document.setdefault("replacements", {}).update(self.replacements)
        for number, text in self.words.items():
            if number >= len(words):
                raise InvalidInputError(f"--word: there is no word {number}.")
            correction = {"original": words[number].text, "text": text}
            document.setdefault("words", {})[str(number)] = correction
        document["shorts"] = {
            id: kept
            for id, fields in shorts.items()
            if (kept := {name: value for name, value in fields.items() if value is not None})
        }
        return Edits.read(document, "the edit")


# The names of options that differ from their fields.
_OPTIONS = {"caption_style": "captions"}


def _pairs(values: _Values, option: str, form: str) -> list[tuple[str, str]]:
    pairs = []
    for value in values or ():
        name, sign, rest = value.partition("=")
        if not (name.strip() and sign):
            raise InvalidInputError(f"{option}: {value!r} is not {form}.")
        pairs.append((name.strip(), rest))
    return pairs


def _value(field: str, text: str) -> Any:
    """The value of a field from the text of an option; None for an empty text."""
    return (text.split() or None) if field == "hashtags" else (text or None)


def _trim(name: str, value: str) -> Trim:
    start, comma, end = value.partition(",")
    try:
        moved = float(start or 0), float(end or 0)
    except ValueError:
        moved = None
    if moved is None or not comma or not all(abs(seconds) < 86_400 for seconds in moved):
        raise InvalidInputError(f"--trim: {value!r} is not START,END in seconds, as 0,-2.4.")
    return Trim(name, *moved)


def _view(value: str) -> View:
    """A view of `START-END:PERSON` or `START-END:X,Y`, in times of the video."""
    times, _, who = value.rpartition(":")
    try:
        start, end = map(float, parse_span(times))
        if "," in who:
            x, y = map(float, who.split(","))
            return View(start=start, end=end, place=Place(x=x, y=y))
        return View(start=start, end=end, person=int(who))
    except ValidationError as error:
        why = describe_errors(error)
    except ValueError:
        why = "it is not START-END:PERSON, as 0:03-0:05:2, or START-END:X,Y, as 3-5:0.5,0.4"
    raise InvalidInputError(f"--framing: {value!r}: {why}.")


def _switch(value: str) -> bool | None:
    """Whether a short is tightened; None for the setting of the video."""
    switches = {"on": True, "off": False, "": None}
    if value not in switches:
        raise InvalidInputError(f"--tighten: {value!r} is not on or off.")
    return switches[value]


def _removal_word(id: str, words: Sequence[Word]) -> str:
    """The word that shows whether an edit of a removal was made for this transcript."""
    kind, number = id[:1], id[1:]
    is_number = number.isascii() and number.isdecimal() and len(number) < 8
    if kind not in ("w", "p") or not is_number or int(number) >= len(words):
        raise InvalidInputError(f"--restore: {id!r} is not the id of a removal, as w17 or p20.")
    return words[int(number)].text


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise InvalidInputError(f"--word: {text!r} is not the number of a word, from 0.")
    return int(text)


def _moment(name: str, moments: Sequence[Moment]) -> Moment:
    for moment in moments:
        if name in (moment.id, str(moment.index)):
            return moment
    there = ", ".join(f"{moment.index} ({moment.id})" for moment in moments)
    raise InvalidInputError(f"There is no short {name}: there are {there or 'none'}.")


def _trimmed(trim: Trim, moment: Moment, edits: Edits, words: Sequence[Word]) -> dict[str, Any]:
    # Imported here, because it imports boto3, which help and completion do not wait for.
    from clipflow.jobs.edits import with_edits, words_between

    # Without those of other shorts, of which it would warn that the video does not have them.
    own = {id: edit for id, edit in edits.shorts.items() if id == moment.id}
    [now] = with_edits([moment], edits.model_copy(update={"shorts": own}), words, "edits.json")
    span = words_between(words, float(now.start) + trim.start, float(now.end) + trim.end)
    return span.model_dump()
