"""The heads of all days come to the topic, though the archive worker is killed again and again as its tree has grown.

The real worker, on the simulated Kafka: the moment between the tree's file and the acknowledgement of its heads is one that a
real process is not caught in at will.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agents.settings import Settings
from agents.signing import make_key
from agents.topics import HEADS, LEDGER
from lampit.audit.archive import Archive
from lampit.audit.proofs import heads
from stream.archive import encode_line
from tests.simulation.faults import Faults
from tests.simulation.network import Weather
from tests.simulation.world import World

NAME = "archive-a"
DAYS = 40
WAIT_SECONDS_MAX = 300.0


class Archived(World):
    """With an archive worker."""

    def _settings(self, name: str) -> Settings:
        more = {"archive_url": str(self.folder / "archive"), "archive_key_file": self.folder / "archive.key"}
        return super()._settings(name).model_copy(update=more)

    def grown(self) -> int:
        """Bytes of the trees."""
        return sum(path.stat().st_size for path in (self.folder / "archive").rglob("tree.jsonl"))

    def is_done(self) -> bool:
        """Every day is in a tree."""
        if len(list((self.folder / "archive").rglob("tree.jsonl"))) < self.partitions:
            return False
        archive = Archive.open(str(self.folder / "archive"))
        return all(len(archive.tree(number)[1]) >= DAYS for number in range(self.partitions))


@pytest.mark.parametrize("growths", [1, 2, 3])
def test_no_head_is_lost_by_a_kill_between_a_tree_and_its_heads(tmp_path: Path, growths: int) -> None:
    """growths: in each life; with several the heads of the ones before have to be out by the last."""
    world = Archived(7, tmp_path, faults=Faults.none())
    make_key(tmp_path / "archive.key", tmp_path / "archive.pub")
    world.lives[NAME] = 0
    with world.installed():
        world.calm_down()
        # A segment is hashed here in no time; on the way to the broker a head takes longer.
        world.network.weather = Weather(slow_share=0.5, slow_seconds_max=1.0)
        world.loop.at(0.0, world._tick)
        world.start(NAME)
        until = world.loop.now + WAIT_SECONDS_MAX
        while not any(True for _ in world.broker.log(LEDGER, world.partitions - 1).committed(0)):
            world.loop.step()
        for number in range(DAYS):
            for partition in range(world.partitions):
                world._turn(partition, world.days[-1] + timedelta(days=number))
        size = world.grown()
        while not world.is_done():
            assert world.loop.now < until, "the trees do not grow"
            for _ in range(growths):
                while world.loop.now < until and world.grown() == size and not world.is_done():
                    world.loop.step()
                size = world.grown()
            world._end(world.running[NAME], None)
        assert world.lives[NAME] >= world.partitions * DAYS // 8 // growths, "it was not killed each time"
        made = [head for head in heads(Archive.open(str(tmp_path / "archive"))) if head.day]
        assert len(made) == DAYS * world.partitions

        published: set[bytes] = set()
        while len(published) < len(made) and world.loop.now < until:
            world.run_until(world.loop.now + 1.0)
            published = {record.value or b"" for record in world.broker.log(HEADS).committed(0)}
        assert published == {encode_line(head) for head in made}
        assert world.defects == []
