"""A whole session in the test's own process, on a tiny model: milliseconds for what takes a real model seconds."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from chatapp.engine.native import llama, load_log
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.planning.load_plan import prepare
from chatapp.engine.session.session import Session
from chatapp.engine.template.model_template import template_of
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Event, Opened, Snapshot, Text, TurnDone
from chatapp.protocol.values import CacheRequest, EngineSettings, Message, Sampling

E = TypeVar("E", bound=Event)
ENGINE = EngineSettings(threads=1, flash_attention="off")
"""Flash attention rounds in another way for every size of a batch."""


@dataclass
class TinySession:
    """A session and what it said; `stop` is asked where a person could have pressed Esc."""

    session: Session
    model: Model
    context: Context
    events: list[AnyEvent] = field(default_factory=list[AnyEvent])
    stop: Callable[[], bool] = lambda: False

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    def send(self, turn: int, text: str, tokens: int = 4) -> str:
        """The reply; what happened on the way is in `events`, and only that."""
        self.events.clear()
        self.session.send(turn, text, sampling(tokens))
        return self._replied()

    def again(self, turn: int, tokens: int = 4, seed: int = 1) -> str:
        self.events.clear()
        self.session.regenerate(turn, sampling(tokens, seed))
        return self._replied()

    def open(self, messages: Sequence[Message], system: str | None = "Be brief.", pinned: Sequence[int] = ()) -> Opened:
        self.events.clear()
        self.session.open(system, list(messages), None, list(pinned))
        return self.last(Opened)

    def _replied(self) -> str:
        assert self.last(TurnDone).stop_reason in ("end", "length", "cancelled")
        return "".join(event.text for event in self.all(Text))

    @property
    def shown(self) -> Snapshot:
        return self.last(Snapshot)


def sampling(tokens: int, seed: int = 1) -> Sampling:
    """Random enough that two replies differ, and the same for the same seed."""
    return Sampling(temperature=2.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, seed=seed, max_tokens=tokens)


@contextmanager
def tiny_session(path: Path, cache: CacheRequest, *, kind: type[Context] = Context) -> Generator[TinySession]:
    """A session as the worker makes it, with an empty conversation; `kind` is what its cache is made of."""
    llama.init()
    prepared = prepare(path, cache, engine=ENGINE)
    model = Model(path)
    context = kind(model, prepared.cache, ENGINE, n_outputs=prepared.n_outputs, n_sequences=prepared.n_sequences)
    events: list[AnyEvent] = []
    session = Session(
        model,
        context,
        template_of(model, []),
        prepared.cache,
        capability=prepared.capability,
        n_swa=prepared.model.n_swa,
        n_ctx_swa=load_log.read(context.log).swa_cells,
        emit=events.append,
        cancelled=lambda: made.stop(),
        devices=list,
    )
    made = TinySession(session, model, context, events)
    try:
        made.open([])
        yield made
    finally:
        context.close()
        model.close()
