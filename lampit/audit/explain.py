"""`lampit audit explain`: why a region's figure changed between two days, or between what was known at two instants.

In: an archive, ledger records or event files; a region, two days, two instants. Out: every event that moved the figure, with
what it moved, as a table, JSON or CSV. The causes are those of `stream.explain`; that they add up to the difference is checked,
and that the difference is the one between two figures of the SQL count. Only pseudonyms are shown.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Literal

import click

from agents.errors import ConfigurationError, LampitError
from lampit import reference
from lampit.audit import explain_shown as shown
from lampit.audit.halves import FIRST, second_half
from lampit.audit.options import Instant, with_rules
from lampit.audit.sources import EVERYBODY, Source, notice_rejected, open_source
from lampit.collecting import no_collection
from lampit.words import Day, region_code
from stream.events import Event, NikChange
from stream.explain import explain
from stream.explanation import Explanation, Heard, Question, joined
from stream.identity import persons
from stream.opening_figures import Row
from stream.rules import Rules
from stream.tally import MEASURES

_SEXES = ("M", "F", "unknown", "total")

Figures = tuple[Row, ...]


@dataclass(frozen=True)
class Answer:
    """An explanation, the two figures of the independent count (None: not counted), and what does not agree."""

    question: Question
    explanation: Explanation
    figures: tuple[Figures, Figures] | None
    faults: list[str]


def explained(source: Source, question: Question, rules: Rules, person: str | None = None) -> Explanation:
    """Explain what the source tells."""
    heard = source.heard(question, person, rules)
    if person is not None:
        heard = only_person(heard, person)
    return explain(heard, question, rules, reference.load())


def answer(
    source: Source,
    question: Question,
    rules: Rules,
    *,
    person: str | None,
    recount: bool,
    other: Future[Explanation] | None = None,
) -> Answer:
    """Explain, and check it. other: what is found of the people whom the source leaves out."""
    explanation = explained(source, question, rules, person)
    if other is not None:
        explanation = joined(explanation, other.result())
    faults = _faults("the causes add up to", explanation.difference, explanation.explained())
    figures = None
    if recount and person is None:
        figures = (
            _figures(source, question, rules, question.begin, question.known_from),
            _figures(source, question, rules, question.end, question.known_to),
        )
        faults += _faults("the figures counted anew differ by", explanation.difference, _minus(figures[1], figures[0]))
    return Answer(question, explanation, figures, faults)


def only_person(heard: list[Heard], person: str) -> list[Heard]:
    """The balances, and the events of one person under all their ids."""
    events: dict[str, list[Event]] = {}
    for one in heard:
        if one.subject is not None and isinstance(one.event, Event):
            events.setdefault(one.subject, []).append(one.event)
    changed = [subject for subject, listed in events.items() if any(type(one) is NikChange for one in listed)]
    ids = next((ids for ids in persons(events, changed).values() if person in ids), (person,))
    found = [one for one in heard if one.subject is None or one.subject in ids]
    if all(one.subject is None for one in found):
        raise LampitError("Nobody has that id in the source: give the subject of a ledger record or an anomaly.")
    return found


def _figures(source: Source, question: Question, rules: Rules, day: int, known_at: int | None) -> Figures:
    from lampit.audit.coverage import by_sql

    records = by_sql(source, date.fromordinal(day), known_at, rules, question.region)
    for record in records:
        if record["region"] == question.region:
            return tuple(tuple(record[measure][sex] for sex in _SEXES) for measure in MEASURES)
    return ((0, 0, 0, 0),) * len(MEASURES)


def _minus(first: Figures, second: Figures) -> Figures:
    return tuple(
        tuple(None if a is None or b is None else a - b for a, b in zip(*rows, strict=True))  # type: ignore[misc]
        for rows in zip(first, second, strict=True)
    )


def _faults(what: str, difference: Figures, other: Figures) -> list[str]:
    """One sentence for each number that is not as it should be; where nothing is stated there is nothing to compare."""
    found = []
    for measure, rows in zip(MEASURES, zip(difference, other, strict=True), strict=True):
        for sex, wanted, got in zip(_SEXES, *rows, strict=True):
            if wanted is not None and wanted != got:
                found.append(f"{measure} ({sex}): the difference is {wanted:+,}, {what} {shown.signed(got)}")
    return found


@click.command()
@click.argument("region", callback=region_code, metavar="REGION")
@click.argument("source", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--from", "begin", type=Day(), required=True, help="The first day; figures are those at its end.")
@click.option("--to", "end", type=Day(), required=True, help="The second day; may be the same.")
@click.option("--known-from", type=Instant(), help="The first figure as known then; a day stands for its end (WIB).")
@click.option("--known-to", type=Instant(), help="The second figure as known then; default: as known now.")
@click.option("--person", metavar="SUBJECT", help="Only what one person moved, by the id of the ledger.")
@click.option("--limit", type=click.IntRange(0), help="So many causes at most; the table shows 40 unless told.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--recount/--no-recount",
    default=True,
    show_default=True,
    help="Also count both figures by the SQL count, over everybody in the region, and compare.",
)
@with_rules
def command(
    region: str,
    source: tuple[str, ...],
    begin: date,
    end: date,
    known_from: int | None,
    known_to: int | None,
    person: str | None,
    limit: int | None,
    form: str,
    as_json: bool,
    recount: bool,
    transit_expiry_days: int | None,
    leap_birthday: Literal["mar1", "feb28"] | None,
) -> None:
    """Why a figure changed: every event that moved it, and what it moved.

    The figure of REGION at the end of --from is held against that at the end of --to. With --known-from and --known-to each is
    taken as it was known then: between two revisions of a month's closing, give the same day twice and the days on which the
    revisions were made. What became known is told first, at the first day; then what the days brought, as known at the end.

    SOURCE is an archive (a directory or s3:// URL), a file of ledger records one a line, or event files as `lampit count`
    takes them. Exit code 1 when the causes do not add up to the difference.

    \b
    Examples:
      lampit audit explain 16.05 --from 2019-02-28 --to 2019-03-28 /srv/lampit/archive
      lampit audit explain 16.05 --from 2019-02-28 --to 2019-02-28 --known-from 2019-02-28 --known-to 2019-03-28 ledger.jsonl
      lampit audit explain ID --from 2019-01-31 --to 2019-12-31 --person 1f0c…(32 digits) ledger.jsonl
    """
    question = _question(region, begin, end, known_from, known_to, person)
    asked = (transit_expiry_days, leap_birthday)
    instants = None if known_from is None else "--known-from"
    with (
        no_collection(),
        second_half(source, question, partial(_by_rules, asked)) as other,
        open_source(source, need_instants=instants, share=EVERYBODY if other is None else FIRST) as opened,
    ):
        rules = opened.rules(*asked)
        found = answer(opened, question, rules, person=person, recount=recount, other=other)
        notice_rejected(opened)
    form = "json" if as_json else form
    shown.show(form, found.question, found.explanation, found.figures, limit)
    if found.faults:
        raise LampitError("It does not add up: " + "; ".join(found.faults) + ".")


def _by_rules(
    asked: tuple[int | None, Literal["mar1", "feb28"] | None], source: Source, question: Question
) -> Explanation:
    """Explain by the rules that are asked for, else those of the source."""
    return explained(source, question, source.rules(*asked))


def _question(
    region: str, begin: date, end: date, known_from: int | None, known_to: int | None, person: str | None
) -> Question:
    """The question, or what is wrong with it."""
    if begin > end:
        raise ConfigurationError("--from is after --to: give the earlier day first.")
    if known_from is None and known_to is not None:
        raise ConfigurationError("--known-to without --known-from: say as known when the first figure is meant.")
    if known_from is not None and known_to is not None and known_from > known_to:
        raise ConfigurationError("--known-from is after --known-to: give the earlier instant first.")
    return Question(region, begin.toordinal(), end.toordinal(), known_from, known_to, person is not None)
