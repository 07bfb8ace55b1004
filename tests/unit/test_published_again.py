"""`lampit publish` of a file that was published before: what is new at its end is sent, and a correction is never left out."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from agents.errors import ConfigurationError
from lampit.files import STANDARD_INPUT, open_all
from lampit.publish import publish
from lampit.publishing import SUFFIX, States

LINES = [f'{{"id":"{number}"}}' for number in range(8)]
CORRECTED = [*LINES[:3], '{"id":"3","corrected":true}', *LINES[4:]]


class Acknowledging:
    """A publisher whose broker takes every line at once."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None

    @property
    def acknowledged(self) -> int:
        return len(self.sent)

    def send(self, position: Any, number: int, line: bytes, *_: object) -> None:
        self.sent.append(line.decode())
        position.reached(number, line)


def published(path: str, state: str | None = None) -> tuple[list[str], int, list[str]]:
    """What a run sends; how many lines it says were published before, and which files have changed."""
    publisher: Any = Acknowledging()
    summary, exit_code = publish(open_all((path,)), publisher, States([path], state, "topics"), None, True)
    assert exit_code == (1 if summary.too_long else 0)
    return publisher.sent, summary.already_published, summary.changed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Published once."""
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    assert published(str(path))[0] == LINES
    assert published(str(path))[0] == []
    return path


@pytest.mark.parametrize(
    "lines",
    [CORRECTED, [*CORRECTED, "{}"], LINES[:5], ["{}", *LINES], ["", *LINES], [*LINES[:3], *LINES[4:], "{}"]],
    ids=["corrected", "corrected and longer", "shorter", "one before", "an empty one before", "one left out"],
)
def test_a_change_before_the_end_is_said_and_everything_published(
    file: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("\n".join(lines) + "\n")
    assert published(str(file)) == ([line for line in lines if line], 0, [str(file)])
    assert f"{file} has changed since it was last published" in capsys.readouterr().err
    assert published(str(file)) == ([], len(list(filter(None, lines))), [])


def test_what_grew_at_the_end_is_published_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with file.open("a") as end:
        end.write('\n\n{"id":"new"}\n{"id":"half')
    assert published(str(file)) == (['{"id":"new"}', '{"id":"half'], 8, [])
    assert capsys.readouterr().err == ""
    with file.open("a") as end:
        end.write(' a line"}\n{"id":"last"}\n')
    assert published(str(file)) == (['{"id":"half a line"}', '{"id":"last"}'], 9, [])
    assert "line 12: has changed since it was published" in capsys.readouterr().err
    assert published(str(file))[0] == []


def test_a_line_that_was_too_long_is_published_when_it_is_not_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lampit.publish.LINE_BYTES_MAX", 30)
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join([LINES[0], "x" * 31, LINES[1]]))
    assert published(str(path))[0] == LINES[:2]
    assert published(str(path))[0] == []
    path.write_text("\n".join([LINES[0], "x" * 30, LINES[1]]))
    assert published(str(path))[0] == [LINES[0], "x" * 30, LINES[1]]


def test_a_state_of_an_earlier_version_is_read(file: Path) -> None:
    """It tells of the last line alone; from then on all lines are known."""
    state = file.with_name(file.name + SUFFIX)

    def as_before() -> None:
        found = json.loads(state.read_bytes())
        del found["files"][str(file)]["before_crc32"]
        state.write_text(json.dumps(found))

    as_before()
    assert published(str(file))[0] == []
    file.write_text("\n".join(CORRECTED) + "\n")
    assert published(str(file))[0] == CORRECTED
    as_before()
    changed = [*CORRECTED[:-1], "{}"]
    file.write_text("\n".join(changed))
    assert published(str(file))[0] == changed


def test_lines_that_are_never_sent_are_not_told_as_published(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(["", LINES[0], "", "", LINES[1], ""]))
    assert published(str(path)) == (LINES[:2], 0, [])
    assert published(str(path)) == ([], 2, [])
    path.write_text("\n".join(["", LINES[0], "", "", LINES[2], ""]))
    assert published(str(path)) == ([LINES[2]], 1, [])


def test_a_file_whose_name_is_no_utf8_is_published_once(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")
    Path(path).write_text("\n".join(LINES) + "\n")
    assert published(path)[0] == LINES
    assert published(path)[0] == []
    Path(path).write_text("\n".join(CORRECTED) + "\n")
    assert published(path) == (CORRECTED, 0, [f"{tmp_path}/caf\\xe9.jsonl"])


def test_what_is_no_state_is_not_written_over(file: Path) -> None:
    for content in (b"[]", b'{"topics":"\xe9","files":{}}'):
        (file.parent / "state").write_bytes(content)
        with pytest.raises(ConfigurationError, match="is not a state of lampit publish"):
            published(str(file), str(file.parent / "state"))


def test_standard_input_cannot_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(lines: list[str]) -> list[str]:
        text = "\n".join(lines).encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        return published(STANDARD_INPUT, str(tmp_path / "state"))[0]

    assert given(LINES) == LINES
    assert given(LINES) == []
    with pytest.raises(ConfigurationError, match=r"Standard input has changed .* use --no-resume"):
        given(CORRECTED)
