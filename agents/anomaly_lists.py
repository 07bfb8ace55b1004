"""Lists of anomalies as records. In: a person's anomalies. Out: a record of `lampit.anomalies`. Called by `agents.desk`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agents.producer import Record
from agents.topics import ANOMALIES
from stream.standing import Anomaly

ANOMALIES_TOLD_MAX: Final = 500
"""Of one person: with the longest names that intake takes that is 0.8 MB, and a topic takes 1 MiB by default. Who may send can
repeat an event under new ids for ever; a record too large for the topic would end every worker that tries."""


def record(subject: str, found: Sequence[Anomaly], partition: int) -> Record:
    """The person's present list: the first ones, and how many others there are."""
    present = sorted({(event.source, event.id, kind) for event, kind in found})
    value: dict[str, object] = {
        "subject": subject,
        "anomalies": [
            {"event": {"source": source, "id": name}, "kind": kind}
            for source, name, kind in present[:ANOMALIES_TOLD_MAX]
        ],
    }
    if len(present) > ANOMALIES_TOLD_MAX:
        value["others"] = len(present) - ANOMALIES_TOLD_MAX
    return Record(ANOMALIES, partition, subject.encode(), msgspec.json.encode(value))
