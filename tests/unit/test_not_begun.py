"""What was fetched of a partition that was taken away and has not begun again is nobody's: it will be fetched again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from faust.types import TP

from agents.app import create_app
from agents.driver import Consumer, Fetch
from agents.settings import Settings

HERE = TP("lampit.ledger", 1)
FETCH = Fetch(*HERE, begin=449, next_offset=450, records=(), seek=0)


def test_a_fetch_of_a_partition_that_has_not_begun_again_is_left_out(tmp_path: Path) -> None:
    """Faust lets the flow go on before `begin`: an agent would be handed what its store does not follow on."""

    async def run() -> None:
        app = create_app("ledger", Settings(data_dir=tmp_path))
        app.finalize()
        consumer = cast(Consumer, app.consumer)
        consumer.flow_active = True
        consumer.done[HERE] = 449
        assert consumer.current(FETCH)
        del consumer.done[HERE]  # as on_partitions_revoked does
        assert not consumer.current(FETCH)
        consumer.done[HERE] = 449
        assert consumer.current(FETCH)

    asyncio.run(run())
