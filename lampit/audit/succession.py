"""Whether an archive follows on the one that it was rewritten from under a newer pseudonym key.

In: the archive of a rotated ledger; the old one, where it is at hand. Out: findings, none where the link holds: the genesis
records name the last head of every partition of the old archive, the signed statement (`succession.json`) says the same and
which heads hold the events now, and, of both archives, the same persons have the same events, whatever they are called.
No key of pseudonyms is needed. Called by `lampit audit verify`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from agents.signing import is_signed
from agents.topics import LEDGER
from lampit.audit.archive import Archive, on_disk
from lampit.audit.checks import check, genesis_of
from lampit.audit.database import in_memory
from lampit.audit.finding import Finding, Trust
from stream.archive import SUCCESSION, Succession, read_succession, statement
from stream.ledger import Predecessor

KIND: Final = "succession"

# Every event of a person once, without the ids; a digest of each person's events; how many persons have which digest. Of
# the balances, every partition's, likewise. What lies behind the rotated heads came later.
_PERSONS_SQL: Final = """
SELECT is_person, digest, count(*) AS persons FROM (
    SELECT NOT starts_with(person, 'balances|') AS is_person,
           sha256(string_agg(content, chr(10) ORDER BY content)) AS digest
    FROM (
        SELECT coalesce(subject, json_extract_string(record, '$.subject'), 'balances|' || partition) AS person, type, partition,
               regexp_replace(record, '"(new_)?subject":"[0-9a-f]{{32}}"', '', 'g') AS content
        FROM ({records}) WHERE receivedat IS NOT NULL AND NOT contains(record, '"forwardedfrom":"'))
    WHERE type <> 'lampit.nik_change.v1' OR CAST('0x' || person[:8] AS BIGINT) % {partitions} = partition
    GROUP BY person)
GROUP BY ALL
"""

_DIFFERING_SQL: Final = """
SELECT coalesce(sum(old.persons) FILTER (WHERE is_person), 0)::BIGINT,
       coalesce(sum(abs(coalesce(old.persons, 0) - coalesce(new.persons, 0))), 0)::BIGINT
FROM old FULL JOIN new USING (is_person, digest)
"""


@dataclass(frozen=True)
class Link:
    """What an archive says of the one before it. compared: persons whose events were compared, None where they were not."""

    previous_ledger: str
    keys: int
    compared: int | None = None


def link(archive: Archive) -> Link | None:
    """Of a rotated ledger's archive; None of any other."""
    genesis = genesis_of(archive, archive.partitions()[0]) if archive.topic == LEDGER else None
    if genesis is None or not isinstance(genesis.succeeds, Predecessor):
        return None
    return Link(genesis.succeeds.ledger_id, genesis.keys)


def check_statement(archive: Archive, trust: Trust) -> Iterator[Finding]:
    """The statement is signed, and says what the genesis records and the heads of the archive say."""
    raw = archive.files.get(SUCCESSION)
    if raw is None:
        yield _found("The ledger succeeds another one; the signed statement of that is missing.", file=SUCCESSION)
        return
    try:
        said = read_succession(raw)
    except ValueError as error:
        yield _found(f"The statement of succession cannot be read: {error}.", file=SUCCESSION)
        return
    keys = trust.keys or {entry.key for entry in archive.segments(archive.partitions()[0])[:1]}
    if said.key not in keys or not is_signed(said):
        yield _found("The statement of succession is not signed by a key that is trusted.", file=SUCCESSION)
    for partition in archive.partitions():
        yield from _partition(archive, partition, said)
    if {head.partition for head in said.heads} != set(archive.partitions()):
        yield _found("The statement of succession is of other partitions.", file=SUCCESSION)


def _partition(archive: Archive, partition: int, said: Succession) -> Iterator[Finding]:
    genesis = genesis_of(archive, partition)
    if genesis is None or not isinstance(genesis.succeeds, Predecessor):
        yield _found("The genesis record does not name the ledger that it succeeds.", partition, 0)
        return
    old = genesis.succeeds.head
    if not is_signed(old) or (old.ledger_id, old.partition) != (genesis.succeeds.ledger_id, partition):
        yield _found("The genesis record names a head of the old ledger that was not signed so.", partition, 0)
    if (said.ledger_id, said.key_fingerprint) != (
        genesis.ledger_id,
        genesis.key_fingerprint,
    ) or old not in said.succeeds:
        yield _found("The statement of succession says otherwise than the genesis record.", partition, 0, SUCCESSION)
    ours = {statement(archive.header(partition), entry) for entry in archive.segments(partition)}
    for head in said.heads:
        if head.partition == partition and head not in ours:
            yield _found(
                "The head that the statement of succession names is not in the archive.",
                partition,
                head.next_offset - 1,
            )


def compare(archive: Archive, previous: Archive, trust: Trust) -> Iterator[Finding]:
    """The old archive is in order, ends with the heads that the new one names, and the same persons have the same events."""
    for one in check(previous, Trust(trust.keys)):
        yield replace(one, message=f"In the previous archive: {one.message}")
    if previous.partitions() != archive.partitions():
        yield _found("The previous archive has other partitions.")
        return
    for partition in archive.partitions():
        genesis = genesis_of(archive, partition)
        entries = previous.segments(partition)
        last = statement(previous.header(partition), entries[-1]) if entries else None
        if genesis is None or not isinstance(genesis.succeeds, Predecessor) or genesis.succeeds.head != last:
            end = last.next_offset - 1 if last else 0
            yield _found(
                "The last head of the previous archive is not the one that the genesis record names.", partition, end
            )


def differing_persons(archive: Archive, previous: Archive) -> tuple[int, int]:
    """How many persons the old archive holds, and how many of them have other events in the new one."""
    upto = {head.partition: head.next_offset for head in read_succession(archive.files.get(SUCCESSION) or b"").heads}
    with (
        on_disk(archive) as new,
        on_disk(previous) as old,
        in_memory() as connection,
    ):
        for name, records in (("old", old.records_sql()), ("new", new.records_sql(upto))):
            sql = _PERSONS_SQL.format(records=records, partitions=len(upto))
            connection.execute(f"CREATE TEMP TABLE {name} AS {sql}")
        ((persons, differing),) = connection.execute(_DIFFERING_SQL).fetchall()
    return persons, differing


def _found(message: str, partition: int | None = None, offset: int | None = None, file: str | None = None) -> Finding:
    return Finding(KIND, message, partition, offset, offset, file)
