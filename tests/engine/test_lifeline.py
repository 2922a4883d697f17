"""The engine ends with the interface, wherever it is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.engine.processes import gone

# One match that takes years holds Python's lock: no other thread of the engine runs any more, not even the one that
# reads the pipe.
BUSY = """
import os, re, sys, threading, time

def compute():
    while not os.path.exists(os.environ["START"]):
        time.sleep(0.02)
    print("busy", file=sys.stderr, flush=True)
    re.match("(a+)+$", "a" * 64 + "b")

if "chatapp.engine.worker" in sys.orig_argv:
    threading.Thread(target=compute, daemon=True).start()
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from chatapp.engine.client import EngineClient

async def main():
    client = EngineClient(Path(sys.argv[1]))
    await client.start()
    await anext(client.events())
    print(client.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
PATIENCE_S = 30


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS ignores the signal that the kernel sends")
def test_a_killed_interface_leaves_no_engine_in_the_middle_of_a_c_call(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BUSY)
    log, start = tmp_path / "log", tmp_path / "start"
    environment = {**os.environ, "START": str(start)}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        engine = int(parent.stdout.readline())
        start.touch()
        until = time.monotonic() + PATIENCE_S
        while "busy" not in log.read_text(errors="replace"):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert not gone(engine, within_s=0.3)
        parent.kill()
    ended = gone(engine)
    if not ended:
        os.kill(engine, signal.SIGKILL)
    assert ended
