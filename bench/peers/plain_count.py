"""json.loads over the lines of a file and a dictionary of counters: nothing checked, nothing folded.

Duplicates, moves, deaths and birthdays are all counted wrongly; it is the least that a program in Python would do.
"""

from __future__ import annotations

import json
import sys
from collections import Counter


def main(path: str) -> None:
    """Count events by type and region."""
    counted: Counter[tuple[str, str]] = Counter()
    with open(path, "rb") as lines:
        for line in lines:
            event = json.loads(line)
            counted[event["type"], event["data"].get("region", "")] += 1
    print(counted.total())


main(sys.argv[1])
