"""Writes the JSON Schemas of every record that crosses a wire: `python -m schemas.export`.

In: the models of this package. Out: `schemas/json/*.json`; a test compares the files with the models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from schemas.anomaly import AnomalyRecord
from schemas.closing import ClosingRecord
from schemas.coverage import CoverageRecord
from schemas.events import IntakeEvent
from schemas.head import HeadRecord
from schemas.ledger import AnyLedgerRecord
from schemas.partial import AnyPartialRecord
from schemas.rejection import RejectionRecord

FOLDER: Final = Path(__file__).parent / "json"

_RECORDS: Final[dict[str, Any]] = {
    "intake": IntakeEvent,
    "ledger": AnyLedgerRecord,
    "rejected": RejectionRecord,
    "partials": AnyPartialRecord,
    "coverage": CoverageRecord,
    "anomalies": AnomalyRecord,
    "heads": HeadRecord,
    "closings": ClosingRecord,
}
"""File name → the type of the records of that topic."""


def documents() -> dict[str, str]:
    """The text of each exported file, by its name."""
    texts: dict[str, str] = {}
    for name, records in _RECORDS.items():
        schema = TypeAdapter(records).json_schema(by_alias=True)
        whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        texts[f"{name}.json"] = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    return texts


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
