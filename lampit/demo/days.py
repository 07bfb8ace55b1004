"""What happens on the days of the demonstration: births, deaths, moves, recordings, and what goes wrong with them.

In: a random generator with a seed, the register's people, villages of the balance regions. Out: the events of one day
after another, in the order they are sent. Called by `lampit.demo.data`. No clock: a day is what the caller says it is.

Regions with a balance have no register: there an event names somebody nobody named before. Some events come days late,
twice, or before those they follow on; three on the first day are no events at all (BAD_SOURCE).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from lampit.demo.balances import OKU_SELATAN, OPENING_DAY, SAROLANGUN, Balance
from lampit.demo.people import DISTRICT, REGISTER_SOURCE, Niks, Resident, age

Event = dict[str, Any]

BAD_SOURCE: Final = "/demo/bad"
"""The source of what intake has to reject."""

DRIVE_DISTRICTS: Final = ("15.03.03", "15.03.04", "15.03.06", "15.03.07")
"""Sarolangun, Pauh, Mandiangin, Air Hitam: the drive of 2019, with officers of other regencies."""

BIRTHS: Final = 24
DEATHS: Final = 16
MOVES: Final = 14
RECORDINGS: Final = 120
_OFFICE_OPENS_SECONDS: Final = 8 * 3600
_OFFICE_SECONDS: Final = 7 * 3600
_ADULT_DAYS: Final = (18 * 366, 80 * 366)
_LATE_RATIO: Final = 0.08
_LATE_DAYS_MAX: Final = 5
_TWICE_RATIO: Final = 0.03
_DISPLACED_RATIO: Final = 0.05


class Days:
    """Plays day after day; call `play` with consecutive days."""

    def __init__(
        self,
        random: Random,
        niks: Niks,
        register: Sequence[Resident],
        balances: Sequence[Balance],
        villages: Mapping[str, Sequence[str]],
    ) -> None:
        """`villages`: by the code of each balance region, and by that of the register's district."""
        self._random = random
        self._niks = niks
        self._register = list(register)
        self._balances = balances
        self._of = {balance.region: balance for balance in balances}
        self._villages = villages
        self._home = [
            village for code, inside in villages.items() if len(code) == len("PP.KK.CC") for village in inside
        ]
        self._drive = [village for village in villages[SAROLANGUN] if village.startswith(DRIVE_DISTRICTS)]
        self._later: defaultdict[date, list[Event]] = defaultdict(list)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._day = OPENING_DAY

    def play(self, day: date) -> list[Event]:
        """The events sent on a day."""
        self._day = day
        today = self._later.pop(day, [])
        for happen in (self._births, self._deaths, self._moves, self._recordings, self._in_the_district):
            for event in happen():
                if self._random.random() < _LATE_RATIO:
                    self._send_later(event, self._random.randrange(1, _LATE_DAYS_MAX + 1))
                else:
                    today.append(event)
        for event in today:
            if self._random.random() < _TWICE_RATIO:
                self._send_later(event, 1)
        today.sort(key=lambda event: str(event["time"])[10:])
        for index, event in enumerate(today):
            if self._random.random() < _DISPLACED_RATIO:
                other = self._random.randrange(len(today))
                today[index], today[other] = today[other], event
        return [*bad_events(day), *today] if day == OPENING_DAY + timedelta(days=1) else today

    def _send_later(self, event: Event, days: int) -> None:
        self._later[self._day + timedelta(days=days)].append(event)

    def _event(self, source: str, kind: str, data: Event, occurred_on: date | None = None) -> Event:
        """Registered today; what happened after today is registered on its own day."""
        occurred_on = occurred_on or self._day
        second = _OFFICE_OPENS_SECONDS + self._random.randrange(_OFFICE_SECONDS)
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        self._numbers[source] += 1
        return {
            "specversion": "1.0",
            "id": f"{kind}-{self._numbers[source]:06d}",
            "source": source,
            "type": f"lampit.{kind}.v1",
            "time": f"{max(self._day, occurred_on)}T{clock}+07:00",
            "data": {**data, "occurred_on": occurred_on.isoformat()},
        }

    def _ago(self, days_max: int) -> date:
        return self._day - timedelta(days=self._random.randrange(days_max + 1))

    def _balance(self) -> Balance:
        return self._random.choices(self._balances, [balance.obliged for balance in self._balances])[0]

    def _village(self, region: str) -> str:
        return self._random.choice(self._villages[region])

    def _stranger(self, balance: Balance) -> Event:
        """An adult whom no event named before, recorded as likely as anybody there."""
        data = self._unrecorded(balance)
        if self._random.random() >= balance.unrecorded_ratio:
            recorded_on = balance.day - timedelta(days=self._random.randrange(30, 2_000))
            data["person"]["recorded_on"] = recorded_on.isoformat()
        return data

    def _unrecorded(self, balance: Balance) -> Event:
        """An adult whom no event named before and nobody recorded."""
        birth_date = balance.day - timedelta(days=self._random.randrange(*_ADULT_DAYS))
        person = {"birth_date": birth_date.isoformat(), "sex": self._random.choice("MF")}
        return {"nik": self._niks.next(), "person": person}

    def _births(self) -> list[Event]:
        events = []
        for _ in range(BIRTHS):
            region = self._balance().region
            data = {"nik": self._niks.next(), "region": self._village(region), "sex": self._random.choice("MF")}
            events.append(self._event(_office(region), "birth", data, self._ago(20)))
        return events

    def _deaths(self) -> list[Event]:
        events = []
        for _ in range(DEATHS):
            balance = self._balance()
            data = {**self._stranger(balance), "region": self._village(balance.region)}
            events.append(self._event(_office(balance.region), "death", data, self._ago(9)))
        return events

    def _moves(self) -> list[Event]:
        """From a balance region to another, or to another district of it; the arrival 0 to 3 days after."""
        events = []
        for _ in range(MOVES):
            balance = self._balance()
            region = balance.region if self._random.random() < 0.4 else self._balance().region
            person = self._stranger(balance)
            events += self._move(person, self._village(balance.region), self._village(region))
        return events

    def _move(self, person: Event, origin: str, destination: str) -> list[Event]:
        arrived_on = self._day + timedelta(days=self._random.randrange(4))
        leaving = {**person, "region": origin, "destination": destination}
        arriving = {**person, "region": destination, "origin": origin}
        arrival = self._event(_office(destination[:5]), "move_in", arriving, arrived_on)
        departure = self._event(_office(origin[:5]), "move_out", leaving)
        if arrived_on == self._day:
            return [arrival, departure]
        self._later[arrived_on].append(arrival)
        return [departure]

    def _recordings(self) -> list[Event]:
        """The drive in Sarolangun, half of it served by officers from elsewhere; one in Oku Selatan; some everywhere."""
        events = []
        for _ in range(RECORDINGS):
            chance = self._random.random()
            if chance < 0.55:
                balance = self._of[SAROLANGUN]
                village = self._random.choice(self._drive)
            else:
                balance = self._of[OKU_SELATAN] if chance < 0.85 else self._balance()
                village = self._village(balance.region)
            region = balance.region
            data = {**self._unrecorded(balance), "region": village}
            if region == SAROLANGUN and self._random.random() < 0.5:
                data["service_point"] = self._random.choice(("15.02", "15.04", "15.08", "15.71"))
            events.append(self._event(_office(region), "recording", data))
            if self._random.random() < 0.3:
                self._follow(region, data)
        return events

    def _follow(self, region: str, data: Event) -> None:
        """The card's later stages, on later days."""
        occurred_on = self._day
        for status in ("sent", "print_ready"):
            occurred_on += timedelta(days=self._random.randrange(1, 4))
            self._later[occurred_on].append(
                self._event(_office(region), "recording", {**data, "status": status}, occurred_on)
            )

    def _in_the_district(self) -> list[Event]:
        """The people of the register, each in one event a day at most."""
        born = [self._birth_in_the_district() for _ in range(self._random.randrange(3))]
        if not self._register:
            return born
        chosen = self._random.sample(self._register, min(4, len(self._register)))
        events = [event for change, who in zip(self._changes(), chosen, strict=False) for event in change(who)]
        waiting = [who for who in self._register if who.recorded_on is None and age(who.birth_date, self._day) >= 16]
        for who in waiting[: self._random.randrange(4)]:
            if who in chosen:
                continue
            who.recorded_on = self._day
            events.append(self._event(REGISTER_SOURCE, "recording", {"nik": who.nik, "region": who.village}))
        return born + events

    def _changes(self) -> tuple[Any, ...]:
        return (self._dies, self._moves_away, self._moves_house, self._is_corrected_or_marries)

    def _birth_in_the_district(self) -> Event:
        sex = self._random.choice("MF")
        child = Resident(self._niks.next(), self._random.choice(self._home), self._ago(30), sex, None, None)
        self._register.append(child)
        data = {"nik": child.nik, "region": child.village, "sex": sex}
        return self._event(REGISTER_SOURCE, "birth", data, child.birth_date)

    def _dies(self, who: Resident) -> list[Event]:
        """Every fifth death is a mistake, taken back two days later."""
        death = self._event(REGISTER_SOURCE, "death", {"nik": who.nik, "region": who.village})
        if self._random.random() < 0.2:
            back = self._day + timedelta(days=2)
            cancels = {"source": death["source"], "id": death["id"]}
            data = {"nik": who.nik, "cancels": cancels}
            self._later[back].append(self._event(REGISTER_SOURCE, "cancellation", data, back))
        else:
            self._register.remove(who)
        return [death]

    def _moves_away(self, who: Resident) -> list[Event]:
        """To a balance region; now and then abroad."""
        self._register.remove(who)
        if self._random.random() < 0.1:
            data = {"nik": who.nik, "region": who.village, "destination": "abroad"}
            return [self._event(REGISTER_SOURCE, "move_out", data)]
        return self._move({"nik": who.nik}, who.village, self._village(self._balance().region))

    def _moves_house(self, who: Resident) -> list[Event]:
        """Within the district only the arrival is registered, or both; somebody else comes from a balance region."""
        balance = self._balance()
        coming = self._move(self._stranger(balance), self._village(balance.region), self._random.choice(self._home))
        if self._random.random() < 0.5:
            return coming
        origin, who.village = who.village, self._random.choice(self._home)
        data = {"nik": who.nik, "region": who.village, "origin": origin}
        return [*coming, self._event(REGISTER_SOURCE, "move_in", data)]

    def _is_corrected_or_marries(self, who: Resident) -> list[Event]:
        if age(who.birth_date, self._day) == 16 and who.ever_married_on is None:
            who.ever_married_on = self._day
            return [self._event(REGISTER_SOURCE, "marriage", {"nik": who.nik})]
        who.birth_date -= timedelta(days=self._random.randrange(1, 400))
        data = {"nik": who.nik, "birth_date": who.birth_date.isoformat()}
        return [self._event(REGISTER_SOURCE, "correction", data)]


def bad_events(day: date) -> list[Event]:
    """Three that intake has to reject: a NIK sent as a number, a type nobody knows, a day that is none."""
    time = f"{day}T08:00:00+07:00"
    common = {"specversion": "1.0", "source": BAD_SOURCE, "time": time}
    village = f"{DISTRICT}.2001"
    data = {"nik": "0000000000009999", "occurred_on": day.isoformat(), "region": village}
    return [
        {**common, "id": "bad-1", "type": "lampit.death.v1", "data": {**data, "nik": 9999}},
        {**common, "id": "bad-2", "type": "lampit.wedding.v1", "data": data},
        {**common, "id": "bad-3", "type": "lampit.death.v1", "data": {**data, "occurred_on": "2019-02-30"}},
    ]


def _office(region: str) -> str:
    return f"/demo/siak/{region.replace('.', '')}"
