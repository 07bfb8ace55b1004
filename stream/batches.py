"""Whole batches of partials: what a partition published is applied when its head says that all of it is there.

In: the records of `lampit.partials` in the order of the topic, from its beginning at every takeover. Out: a `Rollup` that
stands where the heads stand. Called by the roll-up agent.
"""

from __future__ import annotations

from stream.partials import HeadRecord, PartialRecord
from stream.rollup import Partial, Rollup


class Batches:
    """The partials that wait for their head, and the latest head of each partition."""

    def __init__(self, rollup: Rollup) -> None:
        """Nothing read yet."""
        self._rollup = rollup
        self.heads: dict[int, HeadRecord] = {}
        self._waiting: dict[int, list[PartialRecord]] = {}
        self._epochs: dict[int, dict[str, int]] = {}

    def add(self, record: PartialRecord | HeadRecord) -> bool:
        """Take one record; whether it was a head, which closes a batch.

        A new epoch publishes all that it counts before its first head. What an older one said of other places, under other
        rules or another region reference, is no more.
        """
        if isinstance(record, PartialRecord):
            self._waiting.setdefault(record.partition, []).append(record)
            return False
        partition, epochs = record.partition, self._epochs.setdefault(record.partition, {})
        for waiting in self._waiting.pop(partition, ()):
            self._rollup.apply(partition, waiting.region, waiting.partial())
            epochs[waiting.region] = waiting.epoch
        before = self.heads.get(partition)
        self.heads[partition] = record
        if before is None or before.epoch != record.epoch:
            for place in [place for place, epoch in epochs.items() if epoch < record.epoch]:
                self._rollup.apply(partition, place, Partial())
                del epochs[place]
        return True
