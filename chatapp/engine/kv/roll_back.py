"""The ways back to an earlier position."""

from enum import Enum


class RollBack(Enum):
    """How the cache went back to an earlier position."""

    CUT = "cut"
    CHECKPOINT = "from a checkpoint"
    REBUILT = "rebuilt"
    UNFINISHED = "rebuild cancelled"
