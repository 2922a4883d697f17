"""A notice between the messages of a conversation."""

from dataclasses import dataclass


@dataclass(eq=False)
class Remark:
    """A notice as an item of the transcript."""

    level: str
    text: str
    key: str | None = None
