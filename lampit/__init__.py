"""The `lampit` command: the demo, the agents, counting, publishing, replay and audit."""

from importlib.util import find_spec

__version__ = "0.1.0"


def core() -> str:
    """How the core runs: `compiled` by mypyc (`make compile`, the image), or `interpreted`; the figures are the same."""
    found = find_spec("stream.person")
    return "interpreted" if found is None or str(found.origin).endswith(".py") else "compiled"
