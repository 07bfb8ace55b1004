"""Faults made by hand in the agents: what each of their precautions is for. `tests.simulation.mutation_table` looks for each.

As `tests/mutations.py` has them for the core: one text of one file becomes another. The mends of what the simulation has
found (docs/decisions/0015) are undone here, but for the one that a unit test holds.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        "self.due_columns = self.store.due_columns()",
        "self.due_columns = set()",
    ),
    Mutation(
        "what is due is noted as published before it is",
        "agents/desk.py",
        """        await self.producer.publish(records)
        self.store.sent(forwards)
        self.store.barriers_published(barriers)
""",
        """        self.store.published(subjects.keys(), offset)
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
        "self._producer is not None and self.caught_up and not self._are_others(self._heads)",
        "self._producer is not None and not self._are_others(self._heads)",
    ),
    Mutation(
        "the roll-up goes on where the group stands",
        "agents/rollup.py",
        "return dict.fromkeys(partitions, 0)",
        "return dict.fromkeys(partitions)",
    ),
    Mutation(
        "a takeover leaves codes that ended as they were",
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
    Mutation(
        "the roll-up waits for markers behind the last record",
        "agents/rollup.py",
        "            self._caught_up_at = self._next_offset  # behind the last record are markers, which bring no fetch\n",
        "            pass\n",
    ),
    Mutation(
        "a store does not go on behind markers",
        "agents/desk.py",
        """            self.store.go_on_at(self.caught_up_at)
            self.meta = self.store.meta
            self.head_due = True
""",
        "            self.caught_up_at = self.meta.next_offset\n",
    ),
    Mutation(
        "the list of a person alone comes after the family's",
        "stream/partition.py",
        "            self.anomalies[holder] = None\n",
        "            if not after.is_given_up:\n                self.anomalies[holder] = None\n",
    ),
    Mutation(
        "committed offsets are asked for after the ends of the logs",
        "agents/driver_thread.py",
        """        committed_offsets = await self._committed(own)
        # After the others: a process that was stopped in between would take what the group has done since for a log made anew.
        first, end = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
""",
        """        first, end = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
        committed_offsets = await self._committed(own)
""",
    ),
    Mutation(
        "a store stays open when a rebalance comes while it is checked",
        "agents/stores.py",
        """            return await asked
        except BaseException:
            store.close()
            raise
""",
        """            return await asked
        except BaseException:
            raise
""",
    ),
    Mutation(
        "a ledger that is not begun yet is taken for a wrong setting",
        "agents/barrier.py",
        """            raise LostWrite(
                f"the genesis""",
        """            raise ConfigurationError(
                f"the genesis""",
    ),
    Mutation(
        "what was applied while another worker counted is not doubted",
        "agents/ledger.py",
        "is_doubtful = store.meta is not None and store.meta.is_doubtful",
        "is_doubtful = False",
    ),
    Mutation(
        "a poll that comes back during a rebalance begins what was taken away",
        "agents/driver.py",
        "        if self._is_rebalancing:\n",
        "        if False:\n",
    ),
    Mutation(
        "what is being begun goes on while it is taken away",
        "agents/driver.py",
        "if beginnings := set(self._beginnings):",
        "if beginnings := set[asyncio.Task[Any]]():",
    ),
    Mutation(
        "with what was there at first done, nothing that came since is asked for",
        "agents/backlog.py",
        "            while now - looks[0][0] > LATE_SECONDS:\n",
        "            while False:\n",
    ),
    Mutation(
        "figures of another epoch are taken for one's own",
        "agents/rollup.py",
        "return bool(settings - {self.identity.settings_name})",
        "return False",
    ),
    Mutation(
        "a roll-up with an epoch to come ends",
        "agents/epochs.py",
        "return last is not None and last == identity.epoch(last.epoch)",
        "return False",
    ),
)

SEEDS: Final[Mapping[str, int]] = {
    "intake commits before it sends": 9,
    "no fence for a ledger worker": 4,
    "no fence for the roll-up": 45,
    "what is due is forgotten at a takeover": 4,
    "what is due is noted as published before it is": 40,
    "copies for other partitions are struck off before they are sent": 50,
    "closings are struck off before they are sent": 67,
    "the offset is written before the figures": 37,
    "figures are given out while the log is not caught up with": 3,
    "the roll-up gives out what it has read so far": 6,
    "the roll-up goes on where the group stands": 6,
    "a takeover leaves codes that ended as they were": 103,
    "markers behind the last record are waited for": 3,
    "what was fetched before a seek is taken": 238,
    "the roll-up waits for markers behind the last record": 17,
    "a store does not go on behind markers": 16,
    "committed offsets are asked for after the ends of the logs": 277,
    "a store stays open when a rebalance comes while it is checked": 22,
    "a ledger that is not begun yet is taken for a wrong setting": 59,
    "what was applied while another worker counted is not doubted": 2897,
    "a poll that comes back during a rebalance begins what was taken away": 45,
    "what is being begun goes on while it is taken away": 36,
    "with what was there at first done, nothing that came since is asked for": 34,
    "figures of another epoch are taken for one's own": 20,
    "a roll-up with an epoch to come ends": 126,
}
"""The seed that found each when the table was last made, tried first: any change of the code can make it another run."""
