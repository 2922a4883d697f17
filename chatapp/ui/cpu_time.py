"""The processor time that the interface takes for a turn: everything that its process does."""

from collections.abc import Callable

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import TurnDone, TurnStarted


class TurnCpuTime:
    """Reads the clock twice a turn. The interface is a process of its own, so this is none of the engine's stages."""

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        """`cpu_s` is the processor time of this process so far, all threads together."""
        self._cpu_s = cpu_s
        self._began_s: float | None = None

    def take(self, event: AnyEvent) -> float | None:
        """Take an event; returns the turn's time in ms with the event that ends it."""
        if isinstance(event, TurnStarted):
            self._began_s = self._cpu_s()
        elif isinstance(event, TurnDone) and self._began_s is not None:
            began_s, self._began_s = self._began_s, None
            return (self._cpu_s() - began_s) * 1000
        return None
