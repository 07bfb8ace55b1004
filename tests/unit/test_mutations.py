"""The faults of `tests/mutations.py` can still be made: each text stands in its file once, and the replacement differs."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.brokers import ROOT
from tests.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_text_stands_in_its_file_once(mutation: Mutation) -> None:
    source = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert source.count(mutation.text) == 1
    compile(source.replace(mutation.text, mutation.replacement), mutation.file, "exec")
    assert mutation.replacement != mutation.text


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(mutation.name for mutation in MUTATIONS).items() if count > 1] == []
