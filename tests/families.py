"""Changes of NIK that chain people together to families of several NIKs.

In: the NIKs. Out: events. Called by the tests on brokers, the chaos suite and the simulation.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any


def changes_of_nik(niks: Iterable[str], size: int) -> list[dict[str, Any]]:
    """Chains of `size` NIKs each, in the order of the NIKs; each is changed to the next."""
    return [
        {
            "specversion": "1.0",
            "id": f"n{number}",
            "source": "/siak/1605",
            "type": "lampit.nik_change.v1",
            "time": "2019-03-20T09:12:00+07:00",
            "data": {"nik": old, "new_nik": new, "occurred_on": "2019-01-02"},
        }
        for number, (old, new) in enumerate(pairwise(sorted(set(niks))))
        if number % size != size - 1
    ]
