"""Memory while nothing is going on: others may take it, and the engine says nothing then."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from msgspec import structs

from chatapp.chat.view import Phase
from chatapp.presentation import host_reading
from chatapp.presentation.host_reading import HostReading, read_memory
from chatapp.presentation.memory_pressure import MemoryWatch, Severity
from chatapp.presentation.observed import Observed
from chatapp.protocol.events import Evicted
from chatapp.protocol.values import HostMemory
from chatapp.ui.app import SwachatApp
from chatapp.ui.widgets.inspector.memory import MemoryPanel
from tests.support.presentation.inspector_events import NOON_S, loaded, past_the_window, story
from tests.support.ui.chat_app import Bench, chat_screen, notices, ready, until
from tests.support.ui.inspector_app import text_of

GIB = 1 << 30
ENOUGH = HostMemory(available_bytes=6 * GIB, limit_bytes=8 * GIB)
LITTLE = HostMemory(available_bytes=GIB // 2, limit_bytes=8 * GIB)


def test_the_memory_of_a_process_is_read() -> None:
    """Against what the system says of it; nothing of one that has ended."""
    found = read_memory(os.getpid())
    assert found is not None
    host, resident = found
    assert 0.8 < resident / psutil.Process().memory_info().rss < 1.2
    assert 0 < host.available_bytes <= host.limit_bytes <= psutil.virtual_memory().total
    assert host.private_bytes is None or 0 < host.private_bytes <= resident
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert read_memory(ended.pid) is None


def test_nothing_but_the_memory_is_news() -> None:
    """The history has no room for a pause, and what the engine told of the cache meanwhile is not taken back."""
    observed, watch = Observed(), MemoryWatch()
    (evicted,) = (event for event in story() if isinstance(event, Evicted))
    first = structs.replace(past_the_window(), host=ENOUGH)
    for event in (loaded(), first, structs.replace(evicted, reprocessed_tokens=9)):
        observed.apply(event)
        assert watch.take(event) is None
    told = [watch.take(HostReading(first.at_s + seconds, LITTLE, 7)) for seconds in range(10, 300, 10)]
    assert [notice.level for notice in told if notice is not None] == ["warning"]
    assert watch.pressure.level is Severity.LOW
    observed.reading = HostReading(first.at_s + 300, LITTLE, 7)
    assert observed.snapshot is first
    assert (observed.host, observed.resident_bytes) == (LITTLE, 7)
    assert len(observed.resident.spans) == 1
    assert observed.known.moved
    assert observed.n_evictions == 1
    # The rebuild is accounted for by the engine's own next picture, not by a repetition of the one before.
    assert observed.residual.tokens(first) == first.evicted_tokens > 0
    observed.apply(first)
    assert (observed.host, observed.resident_bytes) == (ENOUGH, first.resident_bytes)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(host_reading, "EVERY_S", 0.05)
    return Bench(tmp_path)


def with_memory(app: SwachatApp, host: list[HostMemory]) -> list[int]:
    """From now on the app reads the last of `host`; the processes that it asked for, one for each time."""
    asked: list[int] = []

    def read(pid: int) -> tuple[HostMemory, int]:
        asked.append(pid)
        return host[-1], 9 * 10**6

    app.services = replace(app.services, memory=read)
    return asked


async def test_an_idle_chat_says_that_memory_runs_out(bench: Bench) -> None:
    """In the transcript, once, and in the panel: a person who thinks for an hour must not find the engine gone."""
    app, host = bench.app(), [ENOUGH]
    asked = with_memory(app, host)
    async with app.run_test(size=(120, 90)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: len(asked) > 2)
        assert not any("Memory" in line for line in notices(pilot))
        host.append(LITTLE)
        await until(
            pilot, lambda: any("Memory is low: only 512 MiB of 8 GiB is available" in line for line in notices(pilot))
        )
        panel = pilot.app.screen.query_one(MemoryPanel)
        await until(pilot, lambda: "Memory is low" in text_of(panel))
        assert "8.58 MiB" in text_of(panel)
        seen = len(asked)
        await until(pilot, lambda: len(asked) > seen + 3)
        assert sum("Memory is low" in line for line in notices(pilot)) == 1
    assert set(asked) == {1}  # the scripted engine's


async def test_a_chat_at_work_leaves_the_memory_to_the_engine(bench: Bench) -> None:
    """Its reports come ten times a second then; and without an engine there is nobody to ask for."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        chat = chat_screen(pilot).chat
        assert chat is not None

        def reads() -> bool:
            return chat.read_memory(lambda pid: (ENOUGH, 1), NOON_S) is not None

        for phase in Phase:
            chat.phase = phase
            assert reads() == (phase is Phase.IDLE)
        chat.enter(Phase.IDLE, (3, 10))  # an undo that makes the cache again
        assert not reads()
        chat.enter(Phase.IDLE)
        assert reads()
        assert chat.read_memory(lambda pid: None, NOON_S) is None  # it has just ended, or nobody can tell
        chat.handle_end(None)
        chat.phase = Phase.IDLE
        assert not reads()
