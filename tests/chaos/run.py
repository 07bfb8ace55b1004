"""One fault, one seed: a field on a cluster, the fault put to it while events flow, everything checked.

In: a fault of tests/chaos/faults.py, a seed. Out: an `Outcome`. Called by the command (tests/chaos/__main__.py) and by the
short version among the tests.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
import uuid
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.brokers import delete_topics
from tests.chaos.check import check
from tests.chaos.cluster import NODES, Cluster
from tests.chaos.faults import Fault
from tests.chaos.field import Field


@dataclass
class Outcome:
    """What one run showed. ended: how processes ended that were started again; crashed: the points at which some did."""

    fault: str
    seed: int
    seconds: float = 0.0
    events: int = 0
    rejected: int = 0
    regions: int = 0
    wrong_regions: int = 0
    closings: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    crashed: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    @property
    def repeat(self) -> str:
        """The command that does it again."""
        return f"python -m tests.chaos --fault {self.fault} --first-seed {self.seed} --seeds 1"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "repeat": self.repeat}


def run_fault(cluster: Cluster, fault: Fault, seed: int, *, people_events: int = 800) -> Outcome:
    """Put a fault to the agents; the cluster has all its nodes before and after it."""
    outcome = Outcome(fault.name, seed)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="lampit-chaos-")) / uuid.uuid4().hex[:8]
    folder.mkdir()
    chance = Random(f"{fault.name} {seed}")
    live = Field(
        cluster.broker,
        folder,
        cluster=cluster,
        seed=seed,
        people_events=people_events,
        flow_seconds=fault.flow_seconds,
        settings=dict(fault.settings),
    )
    try:
        # What a run that fails tells of its workers goes beside their logs.
        with (folder / "workers.txt").open("w") as told, redirect_stdout(told), live:
            live.begin()
            fault.strike(live, chance)
            found = check(live, live.finish())
            outcome.events, outcome.rejected, outcome.closings = found.events, found.rejected, found.closings
            outcome.regions, outcome.wrong_regions = found.regions, found.wrong_regions
            outcome.findings += found.all
    except Exception as error:
        outcome.findings.append(f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}")
    finally:
        live.stop()
        outcome.crashed = dict(live.crashed)
        outcome.ended = dict(Counter(f"{name}: {code} {reason}".strip() for name, code, reason in live.ended))
        cluster.start_nodes(*(node for node in NODES if node not in cluster.alive()))
        cluster.wait_until_replicated()
        delete_topics(cluster.bootstrap_servers)
        outcome.seconds = round(time.monotonic() - began, 1)
        if not outcome.findings:
            shutil.rmtree(folder.parent, ignore_errors=True)
        else:
            outcome.findings.append(f"logs and stores are in {folder}")
    return outcome
