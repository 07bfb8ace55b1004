"""The base of the values that the core makes for itself: frozen, compared by what they hold, left alone by the collector.

Imported by the modules of `stream`. `scripts/compile` compiles a module only where its classes take their options from
here: the compiler keeps a base's options, and drops those that stand in a class statement beside `msgspec.Struct`.
"""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, frozen=True, gc=False):
    """A value. Those made of it write `frozen=True` again, for the type checker."""
