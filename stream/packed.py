"""A change in a few bytes: most are of one or two events, which are a handful of the 84 counters of a `Change`.

In: what a partition said of a cell. Out: the counters that are not zero, as MessagePack, and back.
Called by `stream.closer`, which holds one for each place, month and partition.
"""

from __future__ import annotations

from typing import Final

import msgspec

from stream import flow_tally, tally
from stream.contribution import Change

_STOCKS: Final = tally.LANES
_FLOWS: Final = flow_tally.LANES
_BEGINS: Final = (0, _STOCKS, 2 * _STOCKS, 2 * _STOCKS + _FLOWS)

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[int]).decode


def pack(change: Change) -> bytes:
    """[number of a counter, its value, …], without those that are zero."""
    found: list[int] = []
    for which, begin in enumerate(_BEGINS):
        packed = change[which]
        if packed:
            lanes = tally.unpack(packed) if which < 2 else flow_tally.unpack(packed)
            for number, value in enumerate(lanes, begin):
                if value:
                    found += (number, value)
    return _encode(found)


def unpack(raw: bytes) -> Change:
    """The inverse of `pack`."""
    tallies = [0, 0, 0, 0]
    found = _decode(raw)
    for at in range(0, len(found), 2):
        number = found[at]
        which = (number >= _BEGINS[1]) + (number >= _BEGINS[2]) + (number >= _BEGINS[3])
        tallies[which] += found[at + 1] << (tally.LANE_BITS * (number - _BEGINS[which]))
    return Change(*tallies)
