"""The `lampit` command: the demo, the agents, counting, publishing, replay and audit."""

__version__ = "0.1.0"
