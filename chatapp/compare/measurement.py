"""The measurement of one side: a fold of the engine's events, and the driver of the engine."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chatapp.engine.client import Engine, ended, error_of
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Load, Measure
from chatapp.protocol.events import Failed, Loaded, Measured, Scored, Started
from chatapp.protocol.values import CacheRequest, EngineSettings


@dataclass
class SideMeasurement:
    """What has been measured of one side so far."""

    loaded: Loaded | None = None
    measured: Measured | None = None
    tokens: int = 0
    """Tokens of the text scored so far."""
    losses: list[float] = field(default_factory=list[float])
    """-ln p of each scored token, in nats."""
    curve: list[float] = field(default_factory=list[float])
    """Perplexity of each 512 tokens of the text; the last part may be shorter."""

    def apply(self, event: AnyEvent) -> None:
        """Take an event of the engine."""
        match event:
            case Loaded():
                self.loaded = event
            case Scored():
                self.tokens = event.tokens
                self.losses += event.losses
                self.curve.append(event.perplexity)
            case Measured():
                self.measured = event
            case _:
                pass

    def perplexity(self, n: int | None = None) -> float | None:
        """The perplexity of the first `n` scored tokens, or of all; None before any is scored."""
        losses = self.losses[:n]
        return math.exp(sum(losses) / len(losses)) if losses else None

    @property
    def kv_bytes(self) -> int | None:
        """The size of the cache in bytes, as llama.cpp reported it, or else as planned."""
        if self.loaded is None:
            return None
        measured = self.loaded.measured
        memory = self.loaded.planned if measured.kv_bytes is None else measured
        return None if memory.kv_bytes is None else memory.kv_bytes + (memory.kv_swa_bytes or 0)


async def measure(
    engine: Engine,
    path: Path,
    cache: CacheRequest,
    settings: EngineSettings,
    request: Measure,
    tell: Callable[[SideMeasurement], object],
) -> SideMeasurement:
    """Start the engine, have it score the text, and stop it; `tell` is called with every step.

    Raises UserError, ModelError or EngineError as the engine reports it. If cancelled, it stops the engine too: the
    memory is freed before the other side is measured.
    """
    measurement = SideMeasurement()
    await engine.start()
    try:
        async for event in engine.events():
            measurement.apply(event)
            match event:
                case Started():
                    engine.post(Load(path=str(path), cache=cache, engine=settings, scoring=True))
                case Loaded():
                    engine.post(request)
                case Failed():
                    raise error_of(event)
                case _:
                    pass
            tell(measurement)
            if measurement.measured is not None:
                return measurement
        raise ended(engine)
    finally:
        await engine.stop()
