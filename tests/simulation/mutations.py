"""Faults made by hand in the agents: what each of their precautions is for. `tests.simulation.mutation_table` looks for each.

As `tests/mutations.py` has them for the core: one text of one file becomes another.
"""

from __future__ import annotations

from typing import Final

from tests.mutations import Mutation

MUTATIONS: Final = (
    Mutation(
        "intake commits before it sends",
        "agents/intake.py",
        """            if records:
                began""",
        """            if admitted and await commit(self.app, admitted):
                await asyncio.sleep(0.01)
            if records:
                began""",
    ),
    Mutation(
        "no fence for a ledger worker",
        "agents/ledger.py",
        'transactional_id=f"{self.identity.ledger_id}-{partition}"',
        'transactional_id=f"{self.identity.ledger_id}-{partition}-{self.settings.data_dir.name}"',
    ),
    Mutation(
        "no fence for the roll-up",
        "agents/rollup.py",
        'transactional_id=f"{self.identity.ledger_id}-rollup"',
        'transactional_id=f"{self.identity.ledger_id}-rollup-{self.settings.data_dir.name}"',
    ),
    Mutation(
        "what is due is forgotten at a takeover",
        "agents/desk.py",
        "self.due_columns, subjects = self.store.due()",
        "self.due_columns, subjects = set(), self.store.due()[1]",
    ),
    Mutation(
        "what is due is noted as published before it is",
        "agents/desk.py",
        """        await self.producer.publish(records)
        self.store.sent(forwards)
        self.store.barriers_published(barriers)
""",
        """        self.store.published(columns, subjects.keys(), offset)
        await self.producer.publish(records)
        self.store.sent(forwards)
        self.store.barriers_published(barriers)
""",
    ),
    Mutation(
        "copies for other partitions are struck off before they are sent",
        "agents/desk.py",
        "        records = [self._forward(forward) for forward in forwards]\n",
        "        records = [self._forward(forward) for forward in forwards]\n        self.store.sent(forwards)\n",
    ),
    Mutation(
        "closings are struck off before they are sent",
        "agents/desk.py",
        "        self.barriers_due = len(barriers) == BARRIER_RECORDS_MAX\n",
        "        self.barriers_due = len(barriers) == BARRIER_RECORDS_MAX\n        self.store.barriers_published(barriers)\n",
    ),
    Mutation(
        "the offset is written before the figures",
        "agents/store.py",
        "        for subject, events in draft.persons.items():\n            batch.put(_PERSON",
        "        first = WriteBatch(raw_mode=True)\n        first.put(_META, _encode(meta))\n        self._db.write(first)\n"
        "        for subject, events in draft.persons.items():\n            batch.put(_PERSON",
    ),
    Mutation(
        "figures are given out while the log is not caught up with",
        "agents/ledger.py",
        "            if desk is None or not desk.caught_up:\n                return\n            desk.require_epoch()",
        "            if desk is None:\n                return\n            desk.require_epoch()",
    ),
    Mutation(
        "the roll-up gives out what it has read so far",
        "agents/rollup.py",
        "if day is None or not self.caught_up or self._producer is None:",
        "if day is None or self._producer is None:",
    ),
    Mutation(
        "the roll-up goes on where the group stands",
        "agents/rollup.py",
        "return dict.fromkeys(partitions, 0)",
        "return dict.fromkeys(partitions)",
    ),
    Mutation(
        "a publication cut short is not repeated after a takeover",
        "agents/rollup.py",
        "if not self._given_out or self._as_of != day:",
        "if self._as_of is not None and self._as_of != day:",
    ),
    Mutation(
        "markers behind the last record are waited for",
        "agents/ledger.py",
        "                desk.pass_through(through.get(TP(LEDGER, number), 0))\n",
        "                pass\n",
    ),
    Mutation(
        "an older store trusts the lists it finds",
        "agents/desk.py",
        "            draft.doubt(self.given_out)\n",
        "            pass\n",
    ),
    Mutation(
        "what was fetched before a seek is taken",
        "agents/driver.py",
        "return self.flow_active and is_sought and fetch.tp in self.done",
        "return True",
    ),
)
