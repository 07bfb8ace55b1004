"""Faults made by hand: each is one text of the core replaced by another that counts wrongly.

A fault that no test catches is a rule that no test tells. `tests/mutation_table.py` applies each to a copy of the packages
and runs the tests of the count against it; `tests/unit/test_mutations.py` sees to it that every text is still there.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Mutation(NamedTuple):
    """A fault: in `file`, `text` (which stands there once) becomes `replacement`."""

    name: str
    file: str
    text: str
    replacement: str


MUTATIONS: Final = (
    # Who is obliged
    Mutation(
        "17th birthday a day late",
        "stream/calendar.py",
        "return birth.replace(year=birth.year + 17).toordinal()",
        "return birth.replace(year=birth.year + 17).toordinal() + 1",
    ),
    Mutation(
        "birthday of 29 February the other way round",
        "stream/calendar.py",
        'if leap_birthday == "mar1" else (2, 28)',
        'if leap_birthday == "feb28" else (2, 28)',
    ),
    Mutation(
        "last wedding obliges, not the first",
        "stream/eligibility.py",
        "return min(days)",
        "return max(days)",
    ),
    Mutation(
        "last day of a permit excluded",
        "stream/eligibility.py",
        "inside += [(permit.until + 1, False)]",
        "inside += [(permit.until, False)]",
    ),
    Mutation(
        "first day of a permit excluded",
        "stream/eligibility.py",
        "inside += [(permit.begins, True)]",
        "inside += [(permit.begins + 1, True)]",
    ),
    Mutation(
        "permit registered last says, not the one dated last",
        "stream/person.py",
        "isinstance(event, ResidencePermit)), key=by_day)",
        "isinstance(event, ResidencePermit)), key=by_time)",
    ),
    Mutation(
        "unknown birth date under a balance is a child",
        "stream/eligibility.py",
        "if born is None and presumed:",
        "if born is None and presumed and marriages:",
    ),
    Mutation(
        "first correction wins, not the last",
        "stream/person.py",
        "for correction in sorted(corrections, key=by_time) if corrections else ():",
        "for correction in sorted(corrections, key=by_time, reverse=True) if corrections else ():",
    ),
    Mutation(
        "the earliest event speaks before the register",
        "stream/person.py",
        "key=lambda one: (one is not entry, *by_time(one))",
        "key=by_time",
    ),
    Mutation(
        "unknown birth date told on the last fact",
        "stream/person.py",
        "first = min((*parts.facts, *parts.recordings), key=home.order, default=None)",
        "first = max((*parts.facts, *parts.recordings), key=home.order, default=None)",
    ),
    # Who is recorded
    Mutation(
        "issued survives a failure",
        "stream/card.py",
        'held = 0 if status == "failed" else',
        'held = held & ISSUED if status == "failed" else',
    ),
    Mutation(
        "print-ready restored by a new capture",
        "stream/card.py",
        '"captured": RECORDED,',
        '"captured": RECORDED | PRINT_READY,',
    ),
    Mutation(
        "a duplicate answer is a recording",
        "stream/card.py",
        'if status == "duplicate":\n            continue',
        'if status == "duplicate":\n            status = "captured"',
    ),
    Mutation(
        "recorded early counted as recorded",
        "stream/person.py",
        "return POPULATION | RECORDED_EARLY if held & RECORDED else POPULATION",
        "return POPULATION | RECORDED if held & RECORDED else POPULATION",
    ),
    Mutation(
        "after death means after, not on or after: anomaly",
        "stream/person.py",
        "if event.occurred_on >= died_on:",
        "if event.occurred_on > died_on:",
    ),
    Mutation(
        "after death means after, not on or after: stage of a card",
        "stream/person.py",
        "[event for event in recordings if event.occurred_on < day]",
        "[event for event in recordings if event.occurred_on <= day]",
    ),
    Mutation(
        "stages in the order they were reported",
        "stream/person.py",
        "recordings.sort(key=by_day)",
        "recordings.sort(key=by_time)",
    ),
    Mutation(
        "recorded_on comes after the stages of its day",
        "stream/card.py",
        "if day >= recorded_on)",
        "if day > recorded_on)",
    ),
    # Where somebody is counted
    Mutation(
        "move_in ranks with move_out",
        "stream/home.py",
        "    MoveIn: 2,",
        "    MoveIn: 1,",
    ),
    Mutation(
        "missing ranks before found",
        "stream/home.py",
        "    Missing: 3,",
        "    Missing: 1,",
    ),
    Mutation(
        "the dead are counted on the day they die",
        "stream/home.py",
        "        stays.append((day, place, fact))",
        "        stays.append((day + (state is State.DEAD), place, fact))",
    ),
    Mutation(
        "left unmatched ends with the first late departure",
        "stream/home.py",
        'go, anomaly = Go.STAY, "late_move_out"',
        'go, anomaly, unmatched = Go.STAY, "late_move_out", None',
    ),
    Mutation(
        "a late departure is not known by its destination",
        "stream/home.py",
        "home is not None and places.same(places.at(there, day), home, day)",
        "home is None",
    ),
    Mutation(
        "transit expires before an arrival of the day",
        "stream/home.py",
        "and day > left_on + transit_expiry_days",
        "and day >= left_on + transit_expiry_days",
    ),
    Mutation(
        "transit is not in the country",
        "stream/regions.py",
        "    if code == COUNTRY:\n        return None",
        "    if code in (COUNTRY, TRANSIT):\n        return None",
    ),
    Mutation(
        "standing register chosen by occurred_on",
        "stream/person.py",
        "min(entries, key=by_time, default=None)",
        "min(entries, key=by_day, default=None)",
    ),
    Mutation(
        "standing register chosen among events up to D",
        "stream/engine.py",
        "        for subject, counted in self._parts(context):",
        "        seen = Engine(self._rules, self._reference)\n"
        "        for name, events in self._events.items():\n"
        "            for event in events:\n"
        "                if event.occurred_on <= day:\n"
        "                    seen.add(name, event)\n"
        "        for subject, counted in seen._parts(context):",
    ),
    Mutation(
        "a flow-only birth sets a home",
        "stream/person.py",
        "            if not is_flow_only(event):\n                entries.append(event)",
        "            entries.append(event)",
    ),
    Mutation(
        "an event dated after its report is ignored",
        "stream/count.py",
        "    standing = resolve(events)",
        "    standing = resolve([one for one in events if one.time // 86_400_000_000 + 719_163 >= one.occurred_on])",
    ),
    # Conflicts, cancellations, NIKs
    Mutation(
        "cancellations have no effect",
        "stream/standing.py",
        "standing = [event for name, event in accepted.items() if name not in cancelled]",
        "standing = everything",
    ),
    Mutation(
        "a cancelled cancellation has effect",
        "stream/standing.py",
        "        if name not in cancelled:\n            effective",
        "        if name:\n            effective",
    ),
    Mutation(
        "of two contents the last stands",
        "stream/standing.py",
        "first, second = sorted((other, event), key=_precedence)",
        "second, first = sorted((other, event), key=_precedence)",
    ),
    Mutation(
        "at equal time the greater digest stands",
        "stream/standing.py",
        "return (event.time, content_digest(event),",
        "return (event.time, bytes(255 - byte for byte in content_digest(event)),",
    ),
    Mutation(
        "a second NIK is another person",
        "stream/identity.py",
        "for subject in changed for change in without_conflicts(events[subject]))",
        "for subject in () for change in without_conflicts(events[subject]))",
    ),
    # Opening balances
    Mutation(
        "V0 of a presumed person is a constant",
        "stream/presumed.py",
        "        parts,\n        known,\n        rules,",
        "        sort_out(()) if home else parts,\n        known,\n        rules,",
    ),
    Mutation(
        "one V0 of a person, whatever the balance",
        "stream/presumed.py",
        "_before(events, standing, balance, rules, book, now)",
        "_before(events, standing, min(concerned.values(), key=lambda one: one.day), rules, book, now)",
    ),
    Mutation(
        "person data in V0 only from events in time",
        "stream/presumed.py",
        "sources = [*(standing.accepted if home else standing.events), *in_time.events]",
        "sources = in_time.events",
    ),
    Mutation(
        "who arrives is presumed where they arrive",
        "stream/person.py",
        "code = first.origin if isinstance(first, MoveIn) else first.region",
        "code = first.region",
    ),
    Mutation(
        "cancellations resolved over all events in V0",
        "stream/presumed.py",
        "    standing = resolve([event for event in accepted if balance.in_time(event)])\n",
        "    standing = resolve(accepted)\n"
        "    standing = Standing([one for one in standing.events if balance.in_time(one)], accepted, [])\n",
    ),
    Mutation(
        "presumption left out of the national fold",
        "stream/presumed.py",
        "now = View(presumed.spans(), presumed.anomalies,",
        "now = View(plain.spans(), plain.anomalies,",
    ),
    Mutation(
        "birthdays of V0 not taken at D under a schedule",
        "stream/presumed.py",
        "tally += UNITS[before.sex][OBLIGED] * (",
        "tally += 0 * (",
    ),
    Mutation(
        "in_opening ignored",
        "stream/opening.py",
        " or (isinstance(event, Register) and event.in_opening)",
        "",
    ),
    Mutation(
        "end of D0 in the wrong zone",
        "stream/opening.py",
        "end_of_day(day, event.region)",
        "end_of_day(day, None)",
    ),
    Mutation(
        "the first balance governs for ever",
        "stream/opening.py",
        "for balance in reversed(self.by_region.get(region, ())):",
        "for balance in self.by_region.get(region, ()):",
    ),
    Mutation(
        "of two balances of one day the first stands",
        "stream/opening.py",
        "for event in sorted(events, key=lambda one: (one.time, one.source, one.id)):",
        "for event in sorted(events, key=lambda one: (-one.time, one.source, one.id)):",
    ),
    Mutation(
        "a late register entry is presumed inside",
        "stream/person.py",
        "isinstance(first, Register | Birth | Found)",
        "isinstance(first, Birth | Found)",
    ),
    Mutation(
        "cancelled facts presume nobody",
        "stream/count.py",
        "presumed_at = presumed_home(standing.accepted,",
        "presumed_at = presumed_home(standing.events,",
    ),
    Mutation(
        "who is captured was recorded before",
        "stream/card.py",
        'BEYOND_CAPTURE = frozenset({"sent",',
        'BEYOND_CAPTURE = frozenset({"captured", "sent",',
    ),
    # Sums
    Mutation(
        "nested balances counted twice",
        "stream/rollup.py",
        "        if not governing:\n",
        "        if True:\n",
    ),
    Mutation(
        "who lives below a balance to come is in its ancestors",
        "stream/rollup.py",
        "return minus(NOTHING, self._known.get(child, 0))",
        "return NOTHING",
    ),
    Mutation(
        "stale a day late",
        "stream/rollup.py",
        "day >= one.day + self._stale_after_days",
        "day > one.day + self._stale_after_days",
    ),
    Mutation(
        "0 where a balance states nothing",
        "stream/opening_figures.py",
        "return (None, None, None, None)",
        "return (0, 0, 0, 0)",
    ),
    Mutation(
        "one number split as unknown sex",
        "stream/opening_figures.py",
        "return (None, None, None, count)",
        "return (0, 0, count, count)",
    ),
    Mutation(
        "schedule counted from the day after",
        "stream/opening_figures.py",
        "if event.occurred_on < line.on <= day:",
        "if event.occurred_on < line.on < day:",
    ),
    Mutation(
        "unrecorded clamped at 0",
        "stream/coverage.py",
        "else due - done",
        "else max(0, due - done)",
    ),
    Mutation(
        "0 coverage where nobody is obliged",
        "stream/coverage.py",
        "return None if recorded is None or not obliged else recorded / obliged",
        "return None if recorded is None or obliged is None else recorded / max(obliged, 1)",
    ),
    Mutation(
        "coverage of those people below a balance who are known",
        "stream/coverage.py",
        'None if figure.opening == "parent" else ratio',
        "ratio",
    ),
    # Region codes through time
    Mutation(
        "a change takes effect the day after",
        "stream/places.py",
        "return bisect_right(self.days, day)",
        "return bisect_right(self.days, day - 1)",
    ),
    Mutation(
        "a retired code is free though another has it",
        "stream/places.py",
        "return place.code if is_free and code_above == above else code_above",
        "return place.code if code_above == above else code_above",
    ),
    Mutation(
        "a retired desa stays behind in the old province",
        "stream/places.py",
        "return place.code if is_free and code_above == above else code_above",
        "return place.code if is_free else code_above",
    ),
    Mutation(
        "two codes of one desa are two homes",
        "stream/places.py",
        "return one.on(era) is other.on(era)",
        "return one is other",
    ),
    Mutation(
        "retired and new on one code are two places",
        "stream/places.py",
        "(row.old_code or row.new_code) in goes_on",
        "False",
    ),
    Mutation(
        "the mother of a split is gone",
        "stream/places.py",
        'if row.old_code and row.kind != "split"),',
        "if row.old_code),",
    ),
    Mutation(
        "what a kabupaten states stays in its old province too",
        "stream/excess.py",
        "            if change <= day:\n",
        "            if False:\n",
    ),
    Mutation(
        "totals under a new code do not end those under the old one",
        "stream/opening.py",
        "and places.same(region, other_region, other.occurred_on)",
        "and region == other_region",
    ),
    Mutation(
        "a balance holds what lies in its region now",
        "stream/opening.py",
        "for day in self._days\n                for code in lineage(self.places.code(place, day))",
        "for day in self._days\n                for code in lineage(self.places.code(place, 10**6))",
    ),
    Mutation(
        "V is inside by the codes of D0",
        "stream/presumed.py",
        "places.inside(place, balance.region, day)",
        "places.inside(place, balance.region, balance.day)",
    ),
    Mutation(
        "an ended code keeps its people after a takeover",
        "stream/rollup.py",
        "self._dirty.update(region for code in earlier",
        "set().update(region for code in earlier",
    ),
    # Flows and closings
    Mutation(
        "the cut-off day in the next month",
        "stream/periods.py",
        "(on.day > closing_day)",
        "(on.day >= closing_day)",
    ),
    Mutation(
        "a late report moves the month it was about",
        "stream/contribution.py",
        "cell = (max(period, begin), column)",
        "cell = (period, column)",
    ),
    Mutation(
        "stock by report without what came in its last month",
        "stream/contribution.py",
        "lambda day: index(day) <= begin",
        "lambda day: index(day) < begin",
    ),
    Mutation(
        "what was reported in one month was always known",
        "stream/contribution.py",
        "if begins == [BEFORE]:",
        "if len(begins) == 1:",
    ),
    Mutation(
        "a birthday not known on its own day",
        "stream/contribution.py",
        "lambda reported: reported <= day",
        "lambda reported: reported < day",
    ),
    Mutation(
        "birthdays by report of what was reported later",
        "stream/contribution.py",
        "if day < last_report:",
        "if day < 0:",
    ),
    Mutation(
        "a birthday for every birth date anybody gave",
        "stream/contribution.py",
        "            if on == day:\n",
        "            if on:\n",
    ),
    Mutation(
        "no birthdays on the first day of a month",
        "stream/contribution.py",
        "return {day for day in days if day >= first_day}",
        "return {day for day in days if day > first_day}",
    ),
    Mutation(
        "the day of a recording's report in the home's zone",
        "stream/flows.py",
        "event.service_point or event.region",
        "event.region",
    ),
    Mutation(
        "whoever is already born is a birth",
        "stream/flows.py",
        "return BIRTHS if event is entry or is_flow_only(event) else None",
        "return BIRTHS",
    ),
    Mutation(
        "nobody moves into transit",
        "stream/flows.py",
        "if place == TRANSIT:",
        "if not place:",
    ),
    Mutation(
        "nobody moves out of transit",
        "stream/flows.py",
        "if left == TRANSIT:",
        "if left and left != TRANSIT:",
    ),
    Mutation(
        "a death of somebody counted nowhere is a flow",
        "stream/flows.py",
        "                if left:\n                    yield Flow(left,",
        "                if left is not None:\n                    yield Flow(left or fact.region,",
    ),
    Mutation(
        "a death is counted where it is reported",
        "stream/flows.py",
        "yield Flow(left, day, report_day(fact), DEATHS",
        "yield Flow(fact.region, day, report_day(fact), DEATHS",
    ),
    Mutation(
        "recordings of people held unplaced",
        "stream/flows.py",
        "if fold.recordings and fold.stays:",
        "if fold.recordings:",
    ),
    Mutation(
        "every stage of a card is a recording",
        "stream/flows.py",
        'event.status == "captured" and begins',
        "begins",
    ),
    Mutation(
        "a schedule counts its own D0",
        "stream/flows.py",
        "return balance.day < day and (balance.until is None or day <= balance.until)",
        "return balance.day <= day and (balance.until is None or day < balance.until)",
    ),
    Mutation(
        "people inside a balance turn 17 besides its schedule",
        "stream/flows.py",
        "known = int(balance.column not in part.inside)",
        "known = 1",
    ),
    Mutation(
        "a schedule below another is counted again",
        "stream/flows.py",
        "postings.append((outer.region, -tally))",
        "postings.append((outer.region, 0))",
    ),
    Mutation(
        "turned 17 where they lived the day before",
        "stream/flows.py",
        'place = fold.at(day)[1] if begins <= day < ends else ""',
        'place = fold.at(day - 1)[1] if begins <= day < ends else ""',
    ),
    Mutation(
        "turned 17 once for each fold",
        "stream/flows.py",
        'place = fold.at(day)[1] if begins <= day < ends else ""',
        "place = fold.at(day)[1]",
    ),
    Mutation(
        "no flows before the first totals",
        "stream/presumed.py",
        "eras[0] = (FOREVER, eras[0][1])",
        "eras[0] = (eras[0][0], eras[0][1])",
    ),
    Mutation(
        "merged NIKs stay two persons",
        "stream/identity.py",
        "merged = persons(groups, changed) if changed else {}",
        "merged = {}",
    ),
    Mutation(
        "sex of people held unplaced is not known",
        "stream/person.py",
        "return Fold([], [], [], SEX[person.sex], recordings",
        "return Fold([], [], [], SEX[None], recordings",
    ),
    Mutation(
        "a recording reported on the day of western time, everywhere",
        "stream/flows.py",
        "return day_of(event.time, event.service_point or event.region)",
        "return day_of(event.time, None)",
    ),
)
