"""Puts the shipped themes and the example config inside the wheel, as chatapp/data."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelData(BuildHookInterface[Any]):
    """Adds the data to a wheel, but not to an editable one, which would keep a stale copy.

    `chatapp.paths.data_dir()` finds either.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build; `version` is "standard" or "editable"."""
        if version != "editable":
            build_data["force_include"] |= {
                "themes": "chatapp/data/themes",
                "config.example.yaml": "chatapp/data/config.example.yaml",
            }
