"""The scripted engine does what the real one does: the same commands have the same events, the refusals the same words.

The real one has a tiny model whose tokens are words, as they are in the scripted one, so that all counts are equal too.
What the model said is what the script says then.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import (
    Command,
    Forecast,
    Load,
    Measure,
    Open,
    Pin,
    Recall,
    Regenerate,
    Save,
    Send,
    Several,
    ShowWindow,
    Spell,
    Undo,
)
from chatapp.protocol.events import Evicted, Failed, Replied, Text, TurnDone
from chatapp.protocol.values import CacheRequest, EngineSettings, Message, Sampling
from tests.support.engine.contract import Step, done, normal
from tests.support.engine.process import Engine
from tests.support.fake_engine.engine import FakeEngine
from tests.support.fake_engine.script import Script
from tests.support.wordy_model import WORDS, wordy

N_CTX, CHUNK, SHARE = 256, 32, 0.25
N_WORDS = 12


def words(number: int, n: int = N_WORDS) -> str:
    """A text of `n` tokens; each number has one of its own."""
    return " ".join(WORDS[number >> i & 1] for i in range(n))


def sampling(tokens: int | None, seed: int = 1) -> Sampling:
    """Random enough that two replies differ; without a limit the likeliest, which never ends by itself."""
    heat = 0.0 if tokens is None else 2.0
    return Sampling(temperature=heat, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, seed=seed, max_tokens=tokens)


def load(path: Path, policy: str = "auto", live_branches: int | None = None) -> Load:
    cache = CacheRequest(n_ctx=N_CTX, micro_batch=CHUNK, evict_share=SHARE, policy=policy, live_branches=live_branches)
    return Load(path=str(path), cache=cache, engine=EngineSettings(threads=1, flash_attention="off"))


def send(turn: int, n: int = N_WORDS, tokens: int | None = 8) -> Send:
    return Send(turn=turn, text=words(turn, n), sampling=sampling(tokens, seed=turn))


@dataclass
class Recorded:
    """A conversation on the real engine: each step is done, and kept with its events."""

    engine: Engine
    folder: Path
    steps: list[tuple[Step, list[AnyEvent]]] = field(default_factory=list[tuple[Step, list[AnyEvent]]])
    said: list[Message] = field(default_factory=list[Message])
    other: list[Message] = field(default_factory=list[Message])
    """A branch that was left."""
    system: str | None = None

    @property
    def model(self) -> Path:
        return self.folder / "wordy.gguf"

    @property
    def turn(self) -> int:
        return self.said[-1].turn if self.said else 0

    def do(self, command: Command, *, cancel: str = "", look: bool = False) -> list[AnyEvent]:
        """One step; its events."""
        step = Step(command, cancel, look)
        told = self.engine.run(done(self.engine.client, self.engine.stream(), step))
        self.steps.append((step, told))
        return told

    def open(
        self, n_turns: int = 0, *, pinned: Sequence[int] = (), state: Path | None = None, cancel: str = ""
    ) -> None:
        """The conversation, or the first turns of it."""
        if n_turns != len(self.said) // 2:
            self.other, self.said = self.said, self.said[: 2 * n_turns]
        path = None if state is None else str(state)
        self.do(Open(system=self.system, messages=self.said, pinned=list(pinned), state=path), cancel=cancel)

    def send(self, n: int = N_WORDS, tokens: int | None = 8, *, cancel: str = "", look: bool = False) -> None:
        self._replied(words(self.turn + 1, n), self.do(send(self.turn + 1, n, tokens), cancel=cancel, look=look))

    def regenerate(self, tokens: int = 8, *, cancel: str = "") -> None:
        turn, asked = self.turn, self.said[-2].text if self.said else ""
        told = self.do(Regenerate(turn=turn, sampling=sampling(tokens)), cancel=cancel)
        if any(isinstance(event, TurnDone) for event in told):
            self.other, self.said = self.said, self.said[:-2]
            self._replied(asked, told, turn)

    def undo(self) -> None:
        if not any(isinstance(event, Failed) for event in self.do(Undo(turn=self.turn))):
            self.said = self.said[:-2]

    def switch(self) -> None:
        """Back to the branch that was left."""
        self.said, self.other = self.other, self.said
        self.do(Open(system=self.system, messages=self.said))

    def recall(self, *turns: int) -> None:
        self.do(Recall(turns=list(turns)))

    def _replied(self, asked: str, told: Sequence[AnyEvent], turn: int | None = None) -> None:
        ends = [event for event in told if isinstance(event, TurnDone)]
        if ends and (ends[0].stats.reply_tokens or ends[0].stop_reason == "end"):
            reply = "".join(event.text for event in told if isinstance(event, Text))
            turn = turn or self.turn + 1
            self.said = [
                *self.said,
                Message(turn=turn, role="user", text=asked),
                Message(turn=turn, role="assistant", text=reply),
            ]

    def events(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        return [event for _, told in self.steps for event in told if isinstance(event, kind)]

    def script(self) -> Script:
        """What the model said, in order; and where it was cancelled, it holds."""
        replies: list[str] = []
        held: int | None = None
        for step, told in self.steps:
            if isinstance(step.command, Several):
                told = sorted((event for event in told if isinstance(event, Replied)), key=lambda event: event.number)
                replies += [event.text for event in told]
                continue
            text = "".join(event.text for event in told if isinstance(event, Text))
            ends = [event for event in told if isinstance(event, TurnDone)]
            if ends and (text or ends[0].stop_reason == "end"):
                replies.append(text)
            if step.cancel == "in the reply":
                held = ends[0].stats.reply_tokens
                replies[-1] += " and no end"
        return Script(
            first_replies=replies,
            n_ctx=N_CTX,
            chunk_tok=CHUNK,
            evict_share=SHARE,
            hold_after=held,
            looks=True,
            no_models=[str(self.folder / "missing.gguf")],
        )


async def _scripted(steps: Sequence[Step], script: Script) -> list[list[AnyEvent]]:
    engine = FakeEngine(script)
    await engine.start()
    events = engine.events()
    await anext(events)
    at_token = script.hold_after or 1
    told = [await done(engine, events, step, at_token=at_token, go_on=engine.release) for step in steps]
    await engine.stop()
    return told


def agree(chat: Recorded) -> None:
    """The scripted engine tells the same, and finds on disk what the real one found."""
    for path in chat.folder.glob("*.cache"):
        path.unlink()
    steps = [step for step, _ in chat.steps]
    scripted = asyncio.run(asyncio.wait_for(_scripted(steps, chat.script()), 60))
    for (step, real), told in zip(chat.steps, scripted, strict=True):
        assert normal(told) == normal(real), step


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    folder = tmp_path_factory.mktemp("contract")
    wordy(folder / "wordy.gguf")
    with Engine(folder / "log") as process:
        yield process, folder


@pytest.fixture
def chat(engine: tuple[Engine, Path]) -> Recorded:
    return Recorded(*engine)


# --------------------------------------------------------------------------- conversations


def without_a_model(chat: Recorded) -> None:
    chat.do(Load(path=str(chat.folder / "missing.gguf"), cache=CacheRequest(), engine=EngineSettings()))
    for command in (Open(system=None, messages=[]), send(1), Spell(pos=0), ShowWindow(), Pin(turn=1, pinned=True)):
        chat.do(command)


def a_load_that_is_cancelled(chat: Recorded) -> None:
    chat.do(load(chat.model), cancel="at once")
    chat.do(send(1))


def nothing_is_open(chat: Recorded) -> None:
    chat.do(load(chat.model))
    for command in (
        send(1),
        Regenerate(turn=1, sampling=sampling(4)),
        Undo(turn=1),
        Pin(turn=1, pinned=True),
        Recall(turns=[1]),
        Forecast(id=1, text="a"),
        Save(path=str(chat.folder / "state.cache")),
    ):
        chat.do(command)


def a_system_prompt_that_is_too_long(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.send()
    chat.system = words(5, 200)
    chat.open()
    chat.do(send(1))
    chat.do(Forecast(id=1, text="a I"))
    chat.system = None
    chat.open()
    chat.send()


def past_the_window(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.system = words(3, 9)
    chat.open()
    for n in (5, 40, 30, 60, 1, 90, 20):
        chat.do(Forecast(id=n, text=words(n, n)))
        chat.send(n, 12)
    assert chat.events(Evicted)
    chat.do(Spell(pos=2, n=9))
    chat.do(ShowWindow())
    chat.send(400, 20)
    chat.send(3, 220)
    chat.do(Forecast(id=1, text=words(9, 300)))


def stored_messages(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.said = [
        Message(turn=turn, role=role, text=words(turn, n))
        for turn in (1, 2, 4, 5)
        for role, n in (("user", 20 * turn), ("assistant", 9))
    ]
    chat.open(4, pinned=[1, 2])
    chat.send()
    chat.open(5, pinned=[5])
    chat.open(2, pinned=[1])
    chat.send(60, 30)


def undone_and_made_again(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.do(Undo(turn=1))
    chat.do(Regenerate(turn=1, sampling=sampling(4)))
    chat.send()
    chat.send()
    chat.do(Undo(turn=1))
    chat.do(Regenerate(turn=1, sampling=sampling(4)))
    chat.regenerate()
    chat.regenerate(5)
    chat.undo()
    chat.undo()
    chat.send()
    chat.do(Pin(turn=1, pinned=True))
    chat.regenerate(20)


def pins_and_recalls(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.do(Pin(turn=1, pinned=True))
    chat.do(Recall(turns=[1]))
    chat.send(20)
    chat.do(Pin(turn=1, pinned=True))
    chat.do(Pin(turn=1, pinned=True))
    chat.recall(1)
    for _ in range(5):
        chat.send(50)
    chat.recall(7)
    chat.recall(2)
    chat.recall(2)
    chat.do(Pin(turn=3, pinned=True))
    chat.do(Pin(turn=2, pinned=True))
    chat.do(Pin(turn=6, pinned=True))
    chat.do(Pin(turn=5, pinned=True))
    chat.recall(3, 4)
    chat.do(ShowWindow())
    chat.do(Pin(turn=1, pinned=False))
    chat.do(Pin(turn=9, pinned=False))
    chat.send(50)


def branches(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    for _ in range(3):
        chat.send()
    chat.open(1)
    chat.send(5)
    chat.switch()
    chat.send(2)
    chat.switch()
    chat.open(0)
    chat.send(70, 20)
    chat.send(90, 20)


def one_branch_only(chat: Recorded) -> None:
    chat.do(load(chat.model, live_branches=1))
    chat.open()
    chat.send()
    chat.send()
    chat.regenerate()
    chat.open(1)
    chat.send()
    chat.switch()


def cancelled_at_once(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.send(cancel="at once")
    chat.send()
    chat.send(cancel="at once")
    chat.regenerate(cancel="at once")
    chat.send()


def cancelled_in_a_reply(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.send(tokens=1)
    chat.send(tokens=None, cancel="in the reply")
    chat.send(tokens=1)


def a_cancelled_opening(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.send()
    chat.said = [
        Message(turn=turn, role=role, text=words(turn + 40)) for turn in range(1, 9) for role in ("user", "assistant")
    ]
    chat.open(8, cancel="at once")
    chat.do(Forecast(id=1, text="a I"))
    chat.do(Forecast(id=2, text=words(1, 90)))
    chat.send()


def a_cancelled_recall(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    for _ in range(6):
        chat.send(50)
    chat.do(Recall(turns=[1]), cancel="at once")
    chat.send()


def saved_and_opened(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.send()
    chat.send()
    state = chat.folder / "saved.cache"
    chat.do(Save(path=str(state)))
    chat.do(Save(path=str(chat.folder / "none" / "saved.cache")))
    chat.do(Open(system=None, messages=[]))
    chat.open(2, state=state)
    chat.send()
    chat.do(Open(system="a", messages=[]))
    chat.open(3, state=state)
    chat.do(Open(system="a", messages=[]))
    chat.open(3, state=chat.folder / "missing")


def looked_at(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.send(tokens=20, look=True)
    chat.send()


def many_at_once(chat: Recorded) -> None:
    chat.do(load(chat.model))
    chat.open()
    chat.send()
    chat.do(Several(system=words(2, 4), prompts=[words(i, 9) for i in range(5)], sampling=sampling(6)))
    chat.do(send(2))
    chat.do(Several(system=words(2, 100), prompts=["a"], sampling=sampling(6)))
    chat.do(Measure(text=words(7, 50), max_tokens=None))
    chat.open(1)
    chat.do(Measure(text=words(7, 50), max_tokens=None))
    chat.send()


def a_dense_cache(chat: Recorded) -> None:
    chat.do(load(chat.model, policy="dense"))
    chat.open()
    chat.send(80, 10)
    chat.send(80, 200)
    chat.send(80)
    chat.undo()
    chat.said = [Message(turn=1, role=role, text=words(1, 300)) for role in ("user", "assistant")]
    chat.open(1)
    chat.do(send(2))


def policies(chat: Recorded) -> None:
    for policy in ("window", "slide", "rebuild"):
        chat.said, chat.other = [], []
        chat.do(load(chat.model, policy=policy))
        chat.open()
        for _ in range(5):
            chat.send(50, 10)
            chat.do(Pin(turn=chat.turn - 1, pinned=True))
            chat.do(Forecast(id=1, text=words(1, 50)))
        chat.regenerate()
        chat.recall(1)


COURSES: list[Callable[[Recorded], None]] = [
    without_a_model, a_load_that_is_cancelled, nothing_is_open, a_system_prompt_that_is_too_long, past_the_window,
    stored_messages, undone_and_made_again, pins_and_recalls, branches, one_branch_only, cancelled_at_once,
    cancelled_in_a_reply, a_cancelled_opening, a_cancelled_recall, saved_and_opened, looked_at, many_at_once,
    a_dense_cache, policies,
]  # fmt: skip


@pytest.mark.parametrize("commands", COURSES, ids=lambda commands: commands.__name__)
def test_the_same_commands_have_the_same_events(commands: Callable[[Recorded], None], chat: Recorded) -> None:
    commands(chat)
    agree(chat)


# --------------------------------------------------------------------------- any conversation


def step(chat: Recorded, action: str, number: int) -> None:
    """One action of a walk; whether it is refused is up to the engine."""
    n_turns = len(chat.said) // 2
    match action:
        case "send":
            chat.send(1 + number, 1 + number % 9)
        case "long reply":
            chat.send(3, 40 + number)
        case "stop":
            chat.send(1 + 3 * number, cancel="at once")
        case "undo":
            chat.undo()
        case "regenerate":
            chat.regenerate(1 + number % 9)
        case "open":
            chat.open(number % (n_turns + 1), pinned=[number % 5] if number % 3 else [])
        case "stopped opening":
            chat.open(number % (n_turns + 1), cancel="at once")
        case "switch":
            chat.switch()
        case "pin":
            chat.do(Pin(turn=1 + number % max(1, chat.turn), pinned=number % 3 > 0))
        case "recall":
            chat.recall(1 + number % max(1, chat.turn), *([2] if number % 4 == 0 else []))
        case "stopped recall":
            chat.do(Recall(turns=[1 + number % max(1, chat.turn)]), cancel="at once")
        case "forecast":
            chat.do(Forecast(id=number, text=words(number, 1 + 5 * number)))
        case "save":
            chat.do(Save(path=str(chat.folder / "walk.cache")))
        case "several":
            chat.do(Several(system=None, prompts=[words(number)], sampling=sampling(3)))
        case _:
            chat.do(Open(system=None, messages=[]))
            chat.open(n_turns, state=chat.folder / "walk.cache")


ACTIONS = st.tuples(
    st.sampled_from(
        ["send", "send", "send", "long reply", "stop", "undo", "regenerate", "open", "stopped opening", "switch", "pin",
         "recall", "stopped recall", "forecast", "save", "several", "restore"]
    ),
    st.integers(0, 60),
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    actions=st.lists(ACTIONS, min_size=4, max_size=16),
    policy=st.sampled_from(["auto", "auto", "window", "slide", "rebuild", "dense"]),
    live=st.sampled_from([None, 1, 3]),
)
def test_any_commands_have_the_same_events(
    engine: tuple[Engine, Path], actions: Sequence[tuple[str, int]], policy: str, live: int | None
) -> None:
    """Send, stop, undo, regenerate, pin, recall, branch, save, forecast, and evictions all along the way."""
    chat = Recorded(*engine)
    for path in chat.folder.glob("*.cache"):
        path.unlink()
    chat.do(load(chat.model, policy, live))
    chat.open()
    for action, number in actions:
        step(chat, action, number)
    agree(chat)
