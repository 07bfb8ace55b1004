"""Called by hatchling when it builds a wheel: one with compiled modules says for which Python and system it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledCore(BuildHookInterface[Any]):
    """Without compiled modules (`scripts/compile`) the wheel is for every system, as any other."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the files are gathered."""
        if any((Path(self.root) / "stream").glob("*.so")):
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
