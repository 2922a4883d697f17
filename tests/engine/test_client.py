"""The engine process itself: how it ends, what it says then, and that it leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from chatapp.engine.client import EngineClient
from chatapp.errors import EngineError
from chatapp.protocol.commands import Examine, Load, Send, ShowWindow, Spell
from chatapp.protocol.events import Examined, Failed, Spelled, Text, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings, Message, Sampling
from chatapp.protocol.window_text import WindowShown
from tests.support.engine.process import Engine, greedy
from tests.support.engine.processes import gone

PARENT = """
import asyncio, sys
from pathlib import Path
from chatapp.engine.client import EngineClient
from chatapp.protocol.commands import Load, Open, Send
from chatapp.protocol.events import Text
from chatapp.protocol.values import CacheSettings, EngineSettings, Sampling

async def main():
    client = EngineClient(Path(sys.argv[2]))
    await client.start()
    client.post(Load(path=sys.argv[1], cache=CacheSettings(n_ctx=512), engine=EngineSettings()))
    client.post(Open(system=None, messages=[]))
    client.post(Send(turn=1, text="Write the numbers from 1 to 500, one a line.", sampling=Sampling(temperature=0)))
    async for event in client.events():
        if isinstance(event, Text):
            print(client.pid, flush=True)
            await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_killed_parent_leaves_no_orphan(starter: Path, tmp_path: Path) -> None:
    """Killed in the middle of a reply, with no chance to say goodbye: the engine notices the closed pipe."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(starter), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    assert gone(pid, within_s=20)


def test_a_killed_engine_is_explained_and_a_new_one_goes_on(starter: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of a reply: the interface is told why, and the next engine rebuilds from the text."""
    log = tmp_path / "log"
    with Engine(log) as engine:
        engine.load(starter, CacheSettings(n_ctx=512))
        engine.open()
        first = engine.send(1, "What is the sea?", greedy(8))
        engine.post(Send(turn=2, text="Write the numbers from 1 to 500.", sampling=greedy(400)))
        engine.until(Text)
        assert engine.client.death is None
        os.kill(engine.pid, signal.SIGKILL)
        engine.to_the_end()
        assert engine.client.death == f"The engine process was ended by signal SIGKILL; its log is {log}."
        engine.post(Send(turn=3, text="Anybody there?", sampling=greedy(1)))  # does nothing, and raises nothing
    with Engine(log) as engine:
        engine.load(starter, CacheSettings(n_ctx=512))
        stored = [
            Message(turn=1, role="user", text="What is the sea?"),
            Message(turn=1, role="assistant", text=first.text),
            Message(turn=2, role="user", text="Write the numbers from 1 to 500."),
        ]
        opened = engine.open(stored)
        assert (opened.in_window_turns, opened.processed_tokens) == (1, first.snapshot.n_used)
        assert engine.send(2, "Write the numbers from 1 to 500.", greedy(4)).text


def test_a_failed_assertion_in_llama_cpp_is_named(starter: Path, tmp_path: Path) -> None:
    """llama.cpp ends its process on one: the person is told which, from the log."""
    log = tmp_path / "log"
    with Engine(log) as engine:
        with log.open("a") as file:
            file.write("/src/ggml.c:123: GGML_ASSERT(a == b) failed\nnoise\n")
        os.kill(engine.pid, signal.SIGABRT)
        engine.to_the_end()
        assert engine.client.death == (
            "The engine process was ended by signal SIGABRT (/src/ggml.c:123: GGML_ASSERT(a == b) failed); "
            f"its log is {log}."
        )


def test_stop_ends_the_process_also_in_the_middle_of_a_reply(starter: Path, tmp_path: Path) -> None:
    with Engine(tmp_path / "log") as engine:
        pid = engine.pid
        engine.load(starter, CacheSettings(n_ctx=512))
        engine.open()
        engine.post(Send(turn=1, text="Write the numbers from 1 to 500.", sampling=greedy(400)))
        engine.until(Text)
    assert engine.client.death is None
    assert gone(pid, within_s=20)


def test_tokens_are_spelled_in_the_middle_of_a_reply(starter: Path, tmp_path: Path) -> None:
    """A person points at the map while a slow model replies; each question is answered once, then and between turns."""
    with Engine(tmp_path / "log") as engine:
        engine.load(starter, CacheSettings(n_ctx=512))
        engine.open(system="Be brief.")
        engine.post(Send(turn=1, text="Write the numbers from 1 to 500, one a line.", sampling=greedy(80)))
        engine.until(Text)
        engine.post(Spell(pos=4, n=2), ShowWindow(), Spell(pos=6, n=1))
        seen = engine.until(TurnDone)
        told = seen.all(Spelled)
        assert [(spelled.pos, len(spelled.pieces)) for spelled in told] == [(4, 2), (6, 1)]
        assert isinstance(seen.events[-1], TurnDone)
        assert told[-1].at_s < seen.last(Text).at_s, "it did not wait for the end of the reply"
        assert seen.one(WindowShown).parts[-1].role == "assistant"
        engine.post(Spell(pos=4, n=3))
        again = engine.until(Spelled)
        assert again.one(Spelled).pieces == [*told[0].pieces, *told[1].pieces]


def test_nothing_but_frames_reaches_the_pipe(starter: Path, tmp_path: Path) -> None:
    """llama.cpp's log goes to the file, whatever it writes to; Ctrl+C in a terminal does not reach the engine."""
    log = tmp_path / "log"
    with Engine(log) as engine:
        engine.load(starter, CacheSettings(n_ctx=512))
        assert os.getpgid(engine.pid) != os.getpgid(0)
        os.kill(engine.pid, signal.SIGINT)
        engine.open()
        assert engine.send(1, "Hello.", greedy(2)).done.stop_reason in ("length", "end")
    assert "llama_kv_cache: size" in log.read_text(errors="replace")


def test_one_engine_takes_one_model_after_another(starter: Path, gemma: Path, tmp_path: Path) -> None:
    """A model that cannot be loaded leaves the engine ready for the next one."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(starter.read_bytes()[:50_000_000])
    with Engine(tmp_path / "log") as engine:
        loaded = engine.load(gemma, CacheSettings(n_ctx=2048))
        assert (loaded.n_ctx, loaded.n_ctx_swa, loaded.model.n_swa) == (2048, 768, 512)
        engine.post(Load(path=str(broken), cache=CacheSettings(), engine=EngineSettings()))
        failed = engine.until(Failed).one(Failed)
        assert (failed.kind, "is truncated: it has 50,000,000 bytes" in failed.what) == ("model", True)
        engine.post(Send(turn=1, text="Hello.", sampling=Sampling()))
        assert engine.until(Failed).one(Failed).what == "No model is loaded."
        loaded = engine.load(starter, CacheSettings(n_ctx=512))
        assert (loaded.n_ctx_swa, loaded.measured.kv_swa_bytes) == (None, None)
        engine.open()
        assert engine.send(1, "Hello.", greedy(2)).text


def test_an_examination_loads_nothing(starter: Path, tmp_path: Path) -> None:
    with Engine(tmp_path / "log") as engine:
        before = psutil.Process(engine.pid).memory_info().rss
        engine.post(Examine(path=str(starter), cache=CacheSettings(n_ctx=1000), engine=EngineSettings()))
        examined = engine.until(Examined).one(Examined)
        assert (examined.n_ctx, examined.model.architecture) == (1024, "llama")
        assert examined.largest_ctx >= 8192
        assert psutil.Process(engine.pid).memory_info().rss - before < 0.9 * starter.stat().st_size


def test_an_engine_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be started"):
        asyncio.run(EngineClient(tmp_path / "no" / "such" / "folder").start())


def test_the_first_event_says_what_was_started(tmp_path: Path) -> None:
    with Engine(tmp_path / "log") as engine:
        assert engine.started.pid == engine.pid
        assert engine.started.llama_cpp_python == metadata.version("llama-cpp-python")
        assert [device.kind for device in engine.started.devices].count("cpu") == 1
