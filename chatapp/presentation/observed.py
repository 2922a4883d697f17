"""What the inspector knows: the newest event of each kind, and the short histories that its panels draw."""

from collections import deque
from dataclasses import dataclass, field

from chatapp.presentation.attention import SinkSample
from chatapp.presentation.cache_map.known_cells import KnownCells
from chatapp.presentation.experts import Routed, routed
from chatapp.presentation.host_reading import HostReading
from chatapp.presentation.ledger.book import LedgerBook
from chatapp.presentation.memory_pressure import Pressure
from chatapp.presentation.residual_influence import ResidualInfluence
from chatapp.presentation.time_series import TimeSeries
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import (
    Evicted,
    Foreseen,
    Loaded,
    Opened,
    Pinned,
    Probed,
    Recalled,
    RolledBack,
    Snapshot,
    Started,
    TurnDone,
    TurnStarted,
)
from chatapp.protocol.values import Device, HostMemory, TurnStats

HISTORY = 120
"""How many replies to keep the speed of, and how many samples to keep the sinks and experts of."""


@dataclass(frozen=True, slots=True)
class ReplySpeed:
    """How fast a reply was, and whether tokens were evicted for it."""

    tok_s: float
    evicted: bool


@dataclass
class Observed:
    """The engine's state as its events report it. Nothing is computed before a panel that is shown needs it."""

    started: Started | None = None
    loaded: Loaded | None = None
    snapshot: Snapshot | None = None
    probed: Probed | None = None
    last_turn: TurnStats | None = None
    drawn_ms: float | None = None
    """Processor time of the interface's process in the last turn; None if it was not measured, as in a replay."""
    decode_history: deque[ReplySpeed] = field(default_factory=lambda: deque[ReplySpeed](maxlen=HISTORY))
    foreseen: Foreseen | None = None
    """What sending the draft would do; None without a draft, or if the cache has changed since."""
    pressure: Pressure = field(default_factory=Pressure)
    """Set by its owner; see `MemoryWatch`."""
    reading: HostReading | None = None
    """A reading of the memory by the interface, newer than the newest snapshot."""
    resident: TimeSeries = field(default_factory=TimeSeries)
    """The process's resident bytes, with the evictions."""
    n_evictions: int = 0
    """Since the newest snapshot."""
    sink_history: deque[SinkSample] = field(default_factory=lambda: deque[SinkSample](maxlen=HISTORY))
    routed: deque[Routed] = field(default_factory=lambda: deque[Routed](maxlen=HISTORY))
    evicted: bool = False
    """Tokens were evicted since the newest sample."""
    known: KnownCells = field(default_factory=KnownCells)
    residual: ResidualInfluence = field(default_factory=ResidualInfluence)
    book: LedgerBook = field(default_factory=LedgerBook)

    def apply(self, event: AnyEvent) -> bool:
        """Take an event; False if it changes no panel. Called for every token, so it does very little."""
        entered = any((self.book.apply(event), self.known.apply(event)))
        self.residual.apply(event)
        match event:
            case Snapshot():
                self._pictured(event)
            case Foreseen():
                self.foreseen = event
            case Opened():
                self.foreseen = None
                if not event.reused_tokens:
                    self._forget_conversation()
            case TurnStarted() | RolledBack() | Recalled() | Pinned():
                self.foreseen = None
            case Probed():
                self._sampled(event)
            case Evicted():
                self.evicted = True
                self.n_evictions += 1
            case Loaded():
                self._forget()
                self.loaded = event
            case Started():
                self._forget()
                self.started = event
            case TurnDone():
                self.last_turn, self.drawn_ms = event.stats, None
                if event.stats.decode_tok_s is not None:
                    self.decode_history.append(ReplySpeed(event.stats.decode_tok_s, event.stats.evicted_tokens > 0))
            case _:
                return entered
        return True

    @property
    def devices(self) -> list[Device]:
        """The devices with the newest figures of their memory."""
        if self.snapshot is not None:
            return self.snapshot.devices
        return self.started.devices if self.started is not None else []

    @property
    def host(self) -> HostMemory | None:
        """The newest figures of the host's memory; None if there are none."""
        newest = self.reading or self.snapshot
        return newest.host if newest is not None else None

    @property
    def resident_bytes(self) -> int | None:
        """The newest resident size of the engine's process; the history (`resident`) does not include pauses."""
        newest = self.reading or self.snapshot
        return newest.resident_bytes if newest is not None else None

    def _pictured(self, event: Snapshot) -> None:
        self.snapshot, self.reading = event, None
        if event.resident_bytes is not None:
            self.resident.add(event.at_s, event.resident_bytes, self.n_evictions)
            self.n_evictions = 0

    def _sampled(self, event: Probed) -> None:
        self.probed = event
        self.sink_history.append(SinkSample(event.pos, event.sink_share, self.evicted))
        self.evicted = False
        experts = routed(event)
        if experts is not None:
            self.routed.append(experts)

    def _forget(self) -> None:
        """Another process or model: drop the old figures, which are not about it. The ledger log stays."""
        self.loaded = None
        self.snapshot = None
        self.foreseen = None
        self.pressure = Pressure()
        self.reading = None
        self.resident.clear()
        self.n_evictions = 0
        self._forget_conversation()

    def _forget_conversation(self) -> None:
        """Another conversation, of which nothing was cached: drop the figures of turns and samples of the old one."""
        self.probed = None
        self.last_turn = None
        self.drawn_ms = None
        self.decode_history.clear()
        self.sink_history.clear()
        self.routed.clear()
        self.evicted = False
