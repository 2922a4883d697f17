"""From events to messages: text without loss, snapshots latest-wins, everything in order."""

from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st
from textual.message import Message

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Load, Open
from chatapp.protocol.events import Snapshot, Text, Warned
from chatapp.protocol.values import CacheSettings, EngineSettings
from chatapp.ui.bridge import Bridge, EngineEnded, EngineSaid
from tests.support.fake_engine.engine import FakeEngine
from tests.support.fake_engine.script import Script


class Listed(FakeEngine):
    """An engine that says what it is given, at once, and ends."""

    def __init__(self, events: list[AnyEvent]) -> None:
        super().__init__()
        self._said = events

    async def start(self) -> None:
        """Nothing to start."""

    async def events(self) -> AsyncIterator[AnyEvent]:
        """The list."""
        for event in self._said:
            yield event


EVENTS = st.lists(
    st.one_of(
        st.builds(
            Text,
            at_s=st.just(0.0),
            turn=st.integers(1, 2),
            text=st.text(max_size=5),
            reasoning=st.text(max_size=5),
            tokens=st.integers(1, 3),
        ),
        st.integers(0, 512).map(lambda used: snapshot(used)),
        st.builds(Warned, at_s=st.just(0.0), text=st.text(max_size=3)),
    ),
    max_size=30,
)


@given(EVENTS)
def test_nothing_but_old_snapshots_is_lost(events: list[AnyEvent]) -> None:
    """The text of each turn, the order of all else, and the newest snapshot come through."""
    import asyncio

    posted: list[Message] = []
    asyncio.run(Bridge(Listed(events), posted.append, 0.001).run())
    said = [message.event for message in posted if isinstance(message, EngineSaid)]
    assert isinstance(posted[-1], EngineEnded)
    assert posted[-1].why is None
    assert flow(said) == flow(events)
    thoughts = ["".join(event.reasoning for event in each if isinstance(event, Text)) for each in (said, events)]
    assert thoughts[0] == thoughts[1]
    assert sum(event.tokens for event in said if isinstance(event, Text)) == sum(
        event.tokens for event in events if isinstance(event, Text)
    )
    snapshots = [event for event in events if isinstance(event, Snapshot)]
    assert [event for event in said if isinstance(event, Snapshot)][-1:] == snapshots[-1:]


def test_of_two_queued_snapshots_the_older_one_gives_way() -> None:
    """What Textual asks before it handles a queued message. Text never gives way."""
    engine = FakeEngine()
    old, new = EngineSaid(engine, snapshot(1)), EngineSaid(engine, snapshot(2))
    text = EngineSaid(engine, Text(at_s=0, text="a", tokens=1))
    assert old.can_replace(new)
    assert not old.can_replace(text)
    assert not text.can_replace(new)
    assert not text.can_replace(text)


async def test_a_death_is_the_last_message() -> None:
    """With the engine's own words for it."""
    posted: list[Message] = []
    engine = FakeEngine(Script())

    def post(message: Message) -> None:
        posted.append(message)
        if isinstance(message, EngineSaid) and type(message.event).__name__ == "Opened":
            engine.die("It ran out of memory.")

    engine.post(Load(path="m.gguf", cache=CacheSettings(), engine=EngineSettings()))
    engine.post(Open(system=None, messages=[]))
    await Bridge(engine, post, 0.001).run()
    assert isinstance(posted[-1], EngineEnded)
    assert posted[-1].why == "It ran out of memory."


def flow(events: list[AnyEvent]) -> list[tuple[str, object]]:
    """Texts joined where they follow each other, and all else but snapshots, in order."""
    joined: list[tuple[str, object]] = []
    thoughts = ""
    for event in events:
        if isinstance(event, Text):
            thoughts += event.reasoning
            if joined and joined[-1][0] == f"text {event.turn}":
                joined[-1] = (joined[-1][0], f"{joined[-1][1]}{event.text}")
            else:
                joined.append((f"text {event.turn}", event.text))
        elif isinstance(event, Warned):
            joined.append(("warned", event.text))
    return [*joined, ("thoughts", thoughts)]


def snapshot(used: int) -> Snapshot:
    """A snapshot of `used` cells."""
    return Snapshot(
        at_s=0, runs=[], ghosts=[], evicted_tokens=0, evicted_turns=0, shifts=0, n_ctx=512, n_ctx_swa=None, n_swa=None,
        n_sink=0, n_used=used, pos_min=None, pos_max=None, mismatch=None, resident_bytes=None, devices=[],
        prompt_tok_s=None, decode_tok_s=None,
    )  # fmt: skip
