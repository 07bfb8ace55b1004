"""The `lampit` command: the demo, the agents, counting, publishing, replay and audit."""

from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"


def core() -> str:
    """How the core runs: `compiled` by mypyc (`make compile`, the image), or `interpreted`; the figures are the same."""
    found = find_spec("stream.person")
    return "interpreted" if found is None or str(found.origin).endswith(".py") else "compiled"


def newer_than_compiled() -> list[str]:
    """The modules of the core that were written since it was compiled: Python would take what they were before.

    Of a checkout. An installer unpacks a wheel, which is compiled as a whole, file by file, and times tell nothing there.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / "pyproject.toml").exists():
        return []
    package = root / "stream"
    compiled = [path.stat().st_mtime for path in package.glob("*.so")]
    return sorted(path.name for path in package.glob("*.py") if compiled and path.stat().st_mtime > min(compiled))
