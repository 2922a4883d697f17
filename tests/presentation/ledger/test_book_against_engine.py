"""The ledger log against the engine: over any course, what it adds up to is what llama.cpp was made to do."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chatapp.engine.interrupts import CancelledError
from chatapp.errors import UserError
from chatapp.presentation.ledger.book import LedgerBook, Sum
from chatapp.protocol.events import Evicted, TurnDone
from chatapp.protocol.values import CacheRequest
from tests.support.engine.tiny_session import TinySession, tiny_session
from tests.support.tiny_models import tiny

KINDS = ("llama", "llama-yarn", "gemma3", "phi-window", "gpt-oss")
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["send", "send", "stop", "again", "undo", "pin", "unpin", "recall"]), st.integers(1, 90)),
    min_size=4,
    max_size=14,
)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
@example(actions=[("send", 1), ("send", 1), ("send", 36), ("stop", 38)])  # stops in the rebuild of an eviction
def test_nothing_is_processed_moved_or_evicted_without_a_line(
    name: str, actions: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Prompts, rebuilds, recalls and checkpoints, whole or stopped, are all that the engine processes. A line too
    few, or one too many, and the sums differ."""
    folder: Path = tmp_path_factory.getbasetemp() / "tiny"
    folder.mkdir(exist_ok=True)
    with tiny_session(tiny(name, folder), CacheRequest(n_ctx=256, sinks=2, micro_batch=32)) as chat:
        book, turn, rotations, whole = LedgerBook(), 0, 0, True
        told(book, chat)
        for action, number in actions:
            chat.events.clear()
            with contextlib.suppress(UserError, CancelledError):
                turn = step(chat, action, number, turn)
            told(book, chat)
            rotations += sum(event.renumbered and not event.reprocessed_tokens for event in chat.all(Evicted))
            shown = chat.session.kv
            of = book.sums
            assert -(of.get("evict", Sum()).tokens or 0) == shown.ledger.evicted_tokens
            assert of.get("shift", Sum()).times == rotations
            # A rebuild that is stopped, and goes on later, has a line when it is whole.
            whole = whole and (action != "stop" or name == "llama")
            assert not whole or sum(total.processed or 0 for total in of.values()) == shown.processed


def step(chat: TinySession, action: str, number: int, turn: int) -> int:
    """One thing that a person does; the last turn then. UserError where the engine refuses it."""
    session = chat.session
    match action:
        case "send":
            chat.send(turn + 1, "word " * number)
            return turn + 1
        case "stop":
            looks = iter([*[False] * (number % 12), *[True] * 10_000])
            chat.stop = lambda: next(looks)
            try:
                chat.send(turn + 1, "word " * 3 * number)
            finally:
                chat.stop = lambda: False
            return turn + bool(chat.last(TurnDone).stats.reply_tokens)
        case "again":
            chat.again(turn, seed=number)
        case "undo":
            session.undo(turn)
            return turn - 1
        case "recall":
            session.recall([1 + number % max(1, turn)])
        case _:
            session.pin(1 + number % max(1, turn), action == "pin")
    return turn


def told(book: LedgerBook, chat: TinySession) -> None:
    """Enter what the engine said."""
    for event in chat.events:
        book.apply(event)
