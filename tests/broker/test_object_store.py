"""The archive in an S3-compatible store: killed in the middle of uploads it is that of a directory, and serves as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pyarrow import fs

from agents.archive_files import Files
from agents.signing import make_key
from lampit.cli import lampit
from tests.archives import contents
from tests.broker.test_archive import LAST_DAY, archiving, fill, is_grown
from tests.brokers import Broker
from tests.live import Live
from tests.object_store import ENVIRONMENT, ObjectStore, Way, url_of

EVENTS = 1_600
PIECES = (0, 5, 17)
"""Of uploads, that go through before one is cut in two: the first of all, and some later ones."""


def objects(url: str) -> dict[str, bytes]:
    """Everything that the store shows below a place."""
    files = Files(url)
    found = files.filesystem.get_file_info(fs.FileSelector(files.root, recursive=True, allow_not_found=True))
    names = [info.path.removeprefix(f"{files.root}/") for info in found if info.type == fs.FileType.File]
    return {name: files.get(name) or b"" for name in names}


def said(*words: str | Path) -> str:
    """What a command prints; it has to end well."""
    result = CliRunner().invoke(lampit, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.timeout(900)
def test_killed_in_the_middle_of_uploads_it_is_the_archive_of_a_directory(
    kafka: Broker, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    store, folder = url_of(object_store.port, "archive"), tmp_path / "archive"
    with Way(object_store) as way, Live(kafka, tmp_path, partitions=2) as live:
        make_key(tmp_path / "archive.key", tmp_path / "archive.pub")
        fill(kafka, EVENTS)
        live.turn_day(LAST_DAY)
        seen = []
        for number, pieces in enumerate(PIECES):
            way.hold(pieces)
            # Of a group of its own: in that of the killed one Kafka waits for it to come back.
            process = archiving(live, url_of(way.port, "archive"), f"killed-{number}", f"killed-{number}")
            live.wait_until(way.is_held.is_set, "an upload to be half done")
            process.kill()
            way.cut()
            seen.append(objects(store))
        assert not seen[0], "half an upload shows nothing"
        assert not is_grown(store), "it was killed after its work, not at it"
        archiving(live, url_of(way.port, "archive"), "killed", "killed")
        live.wait_until(lambda: is_grown(store), "the archive in the store")
        archiving(live, folder, "undisturbed", "undisturbed")
        live.wait_until(lambda: is_grown(str(folder)), "the archive in the directory")
    whole = contents(folder)
    assert objects(store) == whole
    # What was there when it was killed was whole: manifests and trees are how the later ones begin.
    for early in seen[1:]:
        assert all(whole[name].startswith(content) for name, content in early.items())

    key = ("--public-key", tmp_path / "archive.pub")
    by_store, by_folder = (
        json.loads(said("audit", "verify", "--archive", place, *key, "--json")) for place in (store, folder)
    )
    assert by_store["ok"] and {**by_store, "archive": ""} == {**by_folder, "archive": ""}
    asked = ("audit", "coverage", "--as-of", "2019-03-22", "--level", "district", "--format", "json")
    assert said(*asked, store) == said(*asked, folder) != ""
    proof = ("audit", "prove", "inclusion", "--partition", "1", "--offset", "500", "--archive")
    assert said(*proof, store) == said(*proof, folder)
    for name, place in (("store", store), ("folder", folder)):
        said("replay", "--archive", place, "--output", tmp_path / f"{name}.jsonl")
    replayed = (tmp_path / "store.jsonl").read_bytes()
    assert replayed == (tmp_path / "folder.jsonl").read_bytes()
    assert len(replayed.splitlines()) > EVENTS - 2 * 100
