"""The core compiled (`scripts/compile`): CI tests it, the sources count the same, and a wheel tells which of them it holds."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from lampit import core
from stream.eligibility import Attributes
from tests.brokers import ROOT
from tests.mutation_table import make_copy, run


def script() -> ModuleType:
    """scripts/compile as a module."""
    loader = SourceFileLoader("compile_script", str(ROOT / "scripts/compile"))
    spec = importlib.util.spec_from_loader("compile_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_what_folds_a_person_can_be_compiled() -> None:
    compilable = {path.stem for path in (ROOT / "stream").glob("*.py") if script().is_compilable(path)}
    folding = {
        "calendar",
        "card",
        "contribution",
        "count",
        "eligibility",
        "home",
        "partition",
        "person",
        "places",
        "standing",
    }
    assert folding <= compilable
    assert "value" not in compilable, "compiled, the base would lose its options"


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="outside CI either way of running the core is tested")
def test_ci_tests_the_compiled_core() -> None:
    assert script().missing() is None
    assert core() == "compiled"


def test_a_value_is_frozen_however_the_core_runs() -> None:
    person = Attributes(6_000, "F", None, None, True, None)
    with pytest.raises(AttributeError):
        person.sex = "M"  # type: ignore[misc]
    assert person == Attributes(6_000, "F", None, None, True, None)


def test_the_stories_count_the_same_interpreted() -> None:
    """In a copy of the sources, without any compiled module."""
    interpreted = run(None)
    assert interpreted.passed, interpreted.output[-2_000:]


def test_an_old_compiled_core_is_refused(tmp_path: Path) -> None:
    make_copy(tmp_path, None, ("schemas", "stream", "agents", "lampit"))
    compiled = tmp_path / "stream" / "compiled__mypyc.so"
    compiled.write_bytes(b"")
    newest = max(path.stat().st_mtime for path in (tmp_path / "stream").glob("*.py"))
    command = [sys.executable, "-m", "lampit", "count", os.devnull, "--as-of", "2019-03-28"]
    for seconds, exit_code in ((-1, 2), (3600, 0)):
        os.utime(compiled, (newest + seconds, newest + seconds))
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == exit_code, run.stderr
        assert ("make compile" in run.stderr) == (exit_code == 2)


def test_an_installed_core_is_not_taken_for_an_old_one(tmp_path: Path) -> None:
    """As in the image: of what an installer unpacked one after the other, the first is older than the last."""
    checkout, wheels, installed = tmp_path / "checkout", tmp_path / "wheels", tmp_path / "installed"
    make_copy(checkout, None, ("schemas", "stream", "agents", "lampit"))
    for name in ("hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    (checkout / "stream" / "compiled__mypyc.so").write_bytes(b"")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    assert subprocess.run(build, cwd=checkout, capture_output=True, check=False).returncode == 0
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for seconds, member in enumerate(archive.infolist()):
            unpacked = archive.extract(member, installed)
            os.utime(unpacked, (seconds, seconds))
    command = [sys.executable, "-P", "-m", "lampit", "count", os.devnull, "--as-of", "2019-03-28"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_wheel_with_compiled_modules_is_for_one_system(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        compiled = [name for name in archive.namelist() if name.startswith("stream/") and name.endswith(".so")]
    assert bool(compiled) == (core() == "compiled")
    assert wheel.name.endswith("-py3-none-any.whl") == (core() == "interpreted")
