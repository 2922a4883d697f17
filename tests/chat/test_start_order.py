"""Whatever comes first at a start (the model's file, the engine, another conversation), the chat becomes ready."""

from collections import deque
from pathlib import Path
from typing import cast
from unittest.mock import MagicMock

from hypothesis import given
from hypothesis import strategies as st

from chatapp.chat.controller import Chat
from chatapp.chat.conversation import Conversation
from chatapp.chat.view import Phase, View
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Cancel, Command, Load, Open
from chatapp.protocol.events import Failed, Loaded, LoadProgress, Opened, Prefilled, Snapshot, Started
from chatapp.protocol.values import CacheRequest, EngineSettings, Sampling

STEPS = st.lists(st.sampled_from(["model", "other", "stop", "engine", "engine", "engine"]), max_size=24)
OPENED = Opened(at_s=0.0, n_sink=4, processed_tokens=9, in_window_turns=0, evicted_turns=0, ms=1.0, why="new")
STARTED = MagicMock(spec=Started, pid=1)
LOADED = MagicMock(spec=Loaded, warnings=[], sinks=None, policy="sinks", at_s=0.0)


def snapshot() -> Snapshot:
    """An empty cache."""
    return Snapshot(
        at_s=0, runs=[], ghosts=[], evicted_tokens=0, evicted_turns=0, shifts=0, n_ctx=512, n_ctx_swa=None, n_swa=None,
        n_sink=0, n_used=0, pos_min=None, pos_max=None, mismatch=None, resident_bytes=None, devices=[],
        prompt_tok_s=None, decode_tok_s=None,
    )  # fmt: skip


class ScriptedEngine:
    """Answers commands in their order, one event at a time; what of the progress and the snapshots comes is drawn."""

    def __init__(self, draw: st.DataObject) -> None:
        self._draw = draw
        self.said: deque[AnyEvent] = deque([cast("AnyEvent", STARTED)])

    def post(self, command: Command) -> None:
        """A command's answer is queued behind what is to be said already."""
        match command:
            case Load():
                self._some(LoadProgress(at_s=0.0, fraction=0.5))
                self.said.append(cast("AnyEvent", LOADED))
            case Open():
                self._some(Prefilled(at_s=0.0, turn=None, done=4, total=9, ms=1.0), snapshot())
                self.said.append(OPENED)
                self._some(snapshot())
            case Cancel() if self._draw.draw(st.booleans()):  # else it comes too late
                stopped = Failed(at_s=0.0, kind="user", what="Stopped.", todo="")
                self.said = deque(stopped if isinstance(event, Opened) else event for event in self.said)
            case _:
                pass

    def _some(self, *events: AnyEvent) -> None:
        for event in events:
            self.said.extend([event] * self._draw.draw(st.integers(0, 2)))


@given(STEPS, st.data())
def test_the_last_phase_of_a_start_is_ready(steps: list[str], data: st.DataObject) -> None:
    engine, store = ScriptedEngine(data), MagicMock()

    def conversation() -> Conversation:
        return Conversation(store, model="m", system=None, settings={})

    chat = Chat(
        MagicMock(spec=View),
        conversation(),
        cache=CacheRequest(n_ctx=512),
        engine=EngineSettings(),
        sampling=Sampling(),
    )
    chat.attach(engine.post)
    known = False

    def take() -> None:
        if engine.said:
            chat.handle(engine.said.popleft())

    for step in steps:
        match step:
            case "model" if not known:
                known = True
                chat.use_model(str(Path("m.gguf")))
            case "other":
                chat.open(conversation(), lambda _: None)
            case "stop" if chat.phase is Phase.OPENING:
                chat.stop()
            case "engine":
                take()
            case _:
                pass
    if not known:
        chat.use_model("m.gguf")
    while engine.said:
        take()
    assert (chat.phase, chat.done) == (Phase.IDLE, None)
