"""Saved caches that were changed under a right checksum: used or processed again, and the conversation goes on."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatapp.engine.kv.state_file import DIGEST_BYTES, MAGIC
from chatapp.protocol.commands import Open, Save
from chatapp.protocol.events import Opened, Saved, Snapshot
from chatapp.protocol.values import CacheSettings, Message
from tests.robustness.tries import Try, tries
from tests.support.engine.process import Engine, greedy
from tests.support.tiny_models import tiny

NUMBERS = (-1, 2**31 - 1, 2**31, 2**63 - 1, 10**6, 0, 1)
WORDS = ("evil", "sink", "user", "system", "x" * 100_000, "\n")
TALK = [Message(turn=turn, role=role, text=f"{role} {turn}") for turn in (1, 2) for role in ("user", "assistant")]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    with Engine(folder / "log") as engine:
        engine.load(tiny("llama", folder), CacheSettings(n_ctx=256))
        yield engine


class Cache:
    """A valid file, taken apart."""

    def __init__(self, engine: Engine, file: Path) -> None:
        engine.post(Open(system="Be brief.", messages=TALK))
        engine.until(Opened)
        engine.until(Snapshot)
        engine.post(Save(path=str(file)))
        engine.until(Saved)
        body = file.read_bytes()[len(MAGIC) + DIGEST_BYTES :]
        length = int.from_bytes(body[:8], "little")
        self._head, self._state = body[8 : 8 + length], body[8 + length :]

    def head(self) -> dict[str, Any]:
        """Its header, to be changed."""
        return msgspec.msgpack.decode(self._head)

    def forged(self, head: dict[str, Any], change: "Try | None" = None) -> bytes:
        """A file with this header, and with `change` another state, under a right checksum."""
        packed, state = msgspec.msgpack.encode(head), bytearray(self._state)
        length = len(packed)
        if change is not None:
            match change.choice(["byte", "byte", "byte", "cut", "length"]):
                case "byte":
                    state[change.randrange(change.choice([200, len(state)]))] = change.randrange(256)
                case "cut":
                    del state[change.randrange(len(state)) :]
                case _:
                    length = change.choice([0, 1, 2**63, length + 5])
        body = length.to_bytes(8, "little") + packed + state
        return MAGIC + blake2b(body, digest_size=DIGEST_BYTES).digest() + body


def opened(engine: Engine, file: Path) -> Opened:
    """Open another conversation, then this one with that file."""
    engine.open()
    engine.post(Open(system="Be brief.", messages=TALK, state=str(file)))
    found = engine.until(Opened).one(Opened)
    engine.until(Snapshot)
    return found


def change(attempt: Try, head: dict[str, Any]) -> None:
    """Change one part of a header."""
    match attempt.choice(["run", "run", "closed", "gone"]):
        case "closed":
            head["closed"] = attempt.choice([not head["closed"], *NUMBERS])
        case "gone":
            head["gone"] = [[attempt.choice(NUMBERS), attempt.choice(NUMBERS)]]
            head["evicted_tokens"] = attempt.choice(NUMBERS)
        case _:
            run = attempt.choice(head["runs"])
            name = attempt.choice(sorted(run))
            if name == "tokens":
                run[name][attempt.randrange(len(run[name]))] = attempt.choice(NUMBERS)
            else:
                run[name] = attempt.choice(WORDS if name in ("role", "kind") else NUMBERS)


def test_a_forged_cache_is_used_or_processed_again(engine: Engine, tmp_path: Path) -> None:
    """The driver compares ledger and llama.cpp at every snapshot."""
    file = tmp_path / "cache"
    cache = Cache(engine, file)
    for attempt in tries("cache files", 100):
        head, state = cache.head(), attempt.random() < 0.4
        if not state:
            change(attempt, head)
        file.write_bytes(cache.forged(head, attempt if state else None))
        found = opened(engine, file)
        assert (found.restored_tokens > 0) == (found.why == "the saved cache was restored"), str(attempt)
        assert engine.send(3, "Hi", greedy(2)).done.stop_reason in ("length", "end"), str(attempt)


@pytest.mark.parametrize(
    ("part", "name", "forged"),
    [
        ("runs", "kind", "evil"),
        ("runs", "role", "evil"),
        ("runs", "tokens", [10**6]),
        ("runs", "turn", 77),
        ("closed", "", 7),
        ("gone", "", [[77, 1]]),
    ],
)
def test_what_no_conversation_can_have_is_processed_again(
    engine: Engine, tmp_path: Path, part: str, name: str, forged: object
) -> None:
    """An unknown kind ended the engine, and a token out of range the next decode."""
    file = tmp_path / "cache"
    cache = Cache(engine, file)
    head = cache.head()
    if name:
        head[part][-1][name] = forged
    else:
        head[part] = forged
    file.write_bytes(cache.forged(head))
    found = opened(engine, file)
    assert found.why == "the saved cache is damaged, so the conversation was processed again"
    assert found.restored_tokens == 0
    assert engine.send(3, "Hi", greedy(2)).done.stop_reason in ("length", "end")
