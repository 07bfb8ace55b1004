"""Reads JSON as strictly as RFC 7493 (I-JSON) has it, and says what is wrong without repeating any of it.

In: the bytes of a payload. Out: the value, or an `Unreadable`. Called by `stream.admission` where the quick path
cannot decide, and by `stream.refusal`.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, NoReturn

from schemas.rejection import Reason


class Unreadable(NamedTuple):
    """Why the payload cannot be read."""

    reason: Reason
    message: str


class _NameTwice(ValueError):
    """A name stands twice in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, if every name in it is there once: readers differ in which of two they take."""
    named = dict(pairs)
    if len(named) != len(pairs):
        raise _NameTwice
    return named


def _no_constant(name: str) -> NoReturn:
    """NaN and Infinity are no JSON."""
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def read(raw: bytes) -> Any | Unreadable:
    """The value that the payload holds."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Unreadable(Reason.NOT_UTF8, "the payload is not UTF-8")
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except _NameTwice:
        return Unreadable(Reason.NOT_JSON, "a name stands twice in one object")
    except RecursionError:
        return Unreadable(Reason.NOT_JSON, "the payload is nested too deeply")
    except UnicodeEncodeError:
        return Unreadable(Reason.NOT_JSON, "a text holds half a surrogate pair")
    except ValueError:
        return Unreadable(Reason.NOT_JSON, "the payload is not JSON")
    return value
