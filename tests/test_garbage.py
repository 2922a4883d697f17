"""What Python keeps for later is given back after every turn, and no reply is another one for it."""

import gc
import re
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.turn_cycles import Engine, Meter
from chatapp import garbage
from chatapp.engine.native import llama
from chatapp.protocol.commands import Load, Open, Send
from chatapp.protocol.values import CacheSettings, EngineSettings, Sampling
from tests.support.tiny_models import tiny

LENGTH = 20
"""Of the tuples that Python before 3.13 never takes back out of its list."""


@pytest.fixture(autouse=True)
def unfrozen() -> Generator[None]:
    """The other tests' objects are collected as ever."""
    yield
    gc.unfreeze()


def kept(capfd: pytest.CaptureFixture[str]) -> int:
    """How many freed tuples of this length Python holds."""
    capfd.readouterr()
    sys._debugmallocstats()  # pyright: ignore[reportPrivateUsage]  nothing public counts them
    found = re.search(rf"(\d+) free {LENGTH}-sized PyTupleObjects", capfd.readouterr().err)
    assert found is not None
    return int(found[1])


def replies(path: Path, after: Callable[[], None] = lambda: None) -> list[str]:
    """Four turns, each with a reply that is longer than those tuples, and `after` after each."""
    meter, said = Meter(), list[str]()
    llama.init()
    with closing(Engine(meter)) as engine:
        engine.do(Load(path=str(path), cache=CacheSettings(n_ctx=512), engine=EngineSettings(threads=1)))
        engine.do(Open(system="Be brief.", messages=[]))
        for turn in range(1, 5):
            engine.do(Send(turn=turn, text="Go on.", sampling=Sampling(seed=turn, max_tokens=2 * LENGTH)))
            assert meter.done is not None
            assert meter.done.stats.reply_tokens > LENGTH
            said.append("".join(meter.reply))
            after()
    return said


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the list that only grows is that of older Pythons")
def test_turns_leave_no_freed_tuples_behind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each turn left one: 0.4 MB in a conversation of 2,000."""
    found: list[int] = []
    replies(tiny("llama", tmp_path), lambda: found.append(kept(capfd)))
    assert len(set(found)) == 1


def test_replies_are_the_same_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is still needed is given back."""
    path = tiny("llama", tmp_path)
    with_it = replies(path)
    assert gc.get_freeze_count() > 0
    for name in ("settle", "sweep"):
        monkeypatch.setattr(garbage, name, lambda: None)
    assert replies(path) == with_it


def test_what_is_settled_can_be_collected_when_it_settles_again() -> None:
    """A model that is gone leaves its cycles: a second load must not keep them for ever."""

    class Node:
        n_gone = 0

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Node.n_gone += 1

    node = Node()
    garbage.settle()
    del node
    garbage.sweep()
    assert Node.n_gone == 0
    garbage.settle()
    assert Node.n_gone == 1
