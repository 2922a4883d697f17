"""Templates that take too much of anything, or break what compiles them: in model files, through the engine process.

See test_template.py for what is rendered, and tests/robustness/test_templates.py for damaged ones at random.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from chatapp.engine.template import process as limits
from chatapp.engine.template.process import TemplateProcess
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.errors import ModelError
from chatapp.protocol.commands import Cancel, Load, Send
from chatapp.protocol.events import Failed, Snapshot, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings
from tests.support.engine.process import Engine, Seen, greedy
from tests.support.engine.processes import PeakMemory, gone
from tests.support.tiny_gguf import TEMPLATE
from tests.support.tiny_models import tiny, tiny_with_template

COMPILED = {
    "a format of 10 GB": "{{'%9999999999d' % 1}}",
    "a repetition of 3 GB": "{{'a'*3000000000|length}}",
    "a repetition of 3 GB that is counted": "{{('a'*3000000000)|length}}",
    "a centred letter": "{{'a'|center(2000000000)}}",
    "a break outside a loop": "{% break %}",
    "1,000 brackets": "{{" + "(" * 1000 + "1" + ")" * 1000 + "}}",
    "1,000 lists": "{{" + "[" * 1000 + "1" + "]" * 1000 + "}}",
    "3,000 nested ifs": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "30 nested fors": "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
    "a keyword twice": "{{ dict(a=1, a=2) }}",
    "5,000 signs": "{{ " + "-" * 5000 + "1 }}",
    "a number of too many digits": "{{ 10**5000 }}",
    "a template of a megabyte": "{{ messages[0].content }}" + "x" * (1 << 20),
    "a power that takes a minute": "{{9**(9**9)}}",
}
RENDERED = {
    "a list of 8 GB": "{% set x=[0]*1000000000 %}",
    "a text that doubles": "{% set n=namespace(x='a') %}{% for i in range(60) %}{% set n.x=n.x+n.x %}{% endfor %}",
    "100 MB of output": "{% for i in range(99999) %}{{ 'x' * 1024 }}{% endfor %}",
    "a lone surrogate": "{{ '\\ud800' }}{{ messages[0].content }}",
    "a refusal of 10 MB": "{{ raise_exception('x\n' * 5000000) }}",
    "a refusal that is no text": "{{ raise_exception('\\ud800') }}",
    "a loop of hours": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "many short renderings": "{% for i in range(99999) %}{% set x = i %}{% endfor %}" * 20
    + "{{ messages[0].content }}",
    "a macro without an end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
}
WITHIN_S = 8.0
"""Two seconds on a machine that has nothing else to do."""
MOST_BYTES = 500 << 20

ON_DEMAND = {
    "time": ("{% set n = messages | length + 8 %}{{ n ** (n ** n) }}", "fails: it takes too long"),
    "memory": ("{% set x = [0] * 1000000000 %}", "fails: it takes more than 192 MiB of memory"),
    "output": ("{% for i in range(99999) %}{{ 'x' * 1024 }}{% endfor %}", "fails: it wrote more than 100,"),
    "surrogate": ("{{ '\\ud800' }}", "fails: UnicodeEncodeError"),
    "recursion": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "fails: RecursionError"),
    "refusal": ("{{ raise_exception('not that') }}", "refuses this conversation: not that"),
}


def on_demand(what: str) -> str:
    """A template that works, until somebody says "boom"."""
    return "{% if 'boom' in messages[-1].content %}" + what + "{% endif %}" + TEMPLATE


SLOW = on_demand(ON_DEMAND["time"][0])


def renderers_of(pid: int) -> set[psutil.Process]:
    """The processes in which the process `pid` renders."""
    children = psutil.Process(pid).children()
    return {child for child in children if any("template import sandbox" in word for word in child.cmdline())}


def renderer_of(pid: int) -> psutil.Process:
    """The only one."""
    (renderer,) = renderers_of(pid)
    return renderer


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def plain(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the tiny model replies by the template that its tokens suggest."""
    engine.load(tiny("llama", tmp_path_factory.mktemp("plain")), CacheSettings(n_ctx=256))
    engine.open()
    return engine.send(1, "one two", greedy(4)).text


def failed(engine: Engine, text: str, turn: int) -> str:
    engine.post(Send(turn=turn, text=text, sampling=greedy(4)))
    return engine.until(Failed).one(Failed).what


@pytest.mark.parametrize("name", COMPILED | RENDERED)
def test_the_model_is_chatted_with_all_the_same(name: str, engine: Engine, plain: str, tmp_path: Path) -> None:
    """Soon, in little memory, and the person is told in one line that is no longer than a line can be."""
    path = tiny_with_template(tmp_path / "hostile.gguf", (COMPILED | RENDERED)[name])
    with PeakMemory() as peak:
        loaded = engine.load(path, CacheSettings(n_ctx=256))
    assert loaded.load_s < WITHIN_S
    assert peak.bytes < MOST_BYTES
    (warning,) = loaded.warnings
    assert re.match(r"The model's chat template (fails|refuses|cannot be parsed|omits or repeats)", warning)
    assert warning.endswith(" A ChatML template is used instead; replies may be worse.")
    assert len(warning) < 400
    assert len(warning.splitlines()) == 1
    assert psutil.Process(engine.pid).children() == []
    engine.open()
    assert engine.send(1, "one two", greedy(4)).text == plain


@pytest.mark.parametrize("name", ON_DEMAND)
def test_a_message_that_a_working_template_fails_for_is_refused(name: str, engine: Engine, tmp_path: Path) -> None:
    """With the reason; the conversation is what it was, and goes on with another message."""
    source, reason = ON_DEMAND[name]
    path = tiny_with_template(tmp_path / "trap.gguf", on_demand(source))
    assert engine.load(path, CacheSettings(n_ctx=256)).warnings == []
    engine.open()
    engine.send(1, "one two", greedy(4))
    engine.send(2, "three", greedy(4))
    engine.undo(2)
    whole = engine.send(2, "three", greedy(4))
    engine.undo(2)
    assert failed(engine, "boom", 2).startswith(f"The model's chat template {reason}")
    again = engine.send(2, "three", greedy(4))
    assert again.started.reused_tokens == whole.started.reused_tokens > 0
    assert (again.text, again.snapshot.runs) == (whole.text, whole.snapshot.runs)


def test_a_first_message_that_is_refused_leaves_the_conversation_open(engine: Engine, tmp_path: Path) -> None:
    source, reason = ON_DEMAND["memory"]
    engine.load(tiny_with_template(tmp_path / "trap.gguf", on_demand(source)), CacheSettings(n_ctx=256))
    engine.open()
    whole = engine.send(1, "one two", greedy(4))
    engine.open()
    for _ in range(2):
        assert reason in failed(engine, "boom", 1)
    assert engine.send(1, "one two", greedy(4)).text == whole.text


def stopped(engine: Engine, turn: int) -> Seen:
    """What is told where a message is stopped while its template still computes."""
    engine.post(Send(turn=turn, text="boom", sampling=greedy(4)))
    time.sleep(0.3)
    engine.post(Cancel())
    return engine.until(TurnDone)


def test_a_rendering_can_be_stopped(engine: Engine, tmp_path: Path) -> None:
    path = tiny_with_template(tmp_path / "trap.gguf", SLOW)
    engine.load(path, CacheSettings(n_ctx=256))
    engine.open()
    for turn in (1, 2):
        assert stopped(engine, turn).done.stop_reason == "cancelled"
        assert engine.send(turn, "one two", greedy(4)).done.stop_reason in ("length", "end")


def test_a_template_can_be_stopped_while_the_model_is_loaded(engine: Engine, tmp_path: Path) -> None:
    path = tiny_with_template(tmp_path / "hostile.gguf", "{{ 9**(9**9) }}")
    engine.post(Load(path=str(path), cache=CacheSettings(n_ctx=256), engine=EngineSettings()))
    time.sleep(0.5)
    engine.post(Cancel())
    assert engine.until(Failed).one(Failed).what == "Stopped."
    assert psutil.Process(engine.pid).children() == []
    assert engine.load(tiny("llama", tmp_path), CacheSettings(n_ctx=256)).warnings == []


# --------------------------------------------------------------------------- the process

PARENT = """
import asyncio, sys
from pathlib import Path
from chatapp.engine.client import EngineClient
from chatapp.protocol.commands import Load, Open, Send
from chatapp.protocol.events import Opened, Loaded
from chatapp.protocol.values import CacheSettings, EngineSettings, Sampling

async def main():
    client = EngineClient(Path(sys.argv[2]))
    await client.start()
    client.post(Load(path=sys.argv[1], cache=CacheSettings(n_ctx=256), engine=EngineSettings()))
    client.post(Open(system=None, messages=[]))
    async for event in client.events():
        if isinstance(event, Opened):
            client.post(Send(turn=1, text="boom", sampling=Sampling(temperature=0)))
            await asyncio.sleep(0.2)
            print(client.pid, flush=True)

asyncio.run(main())
"""


@contextmanager
def chatting(path: Path, log: Path) -> Generator[tuple[subprocess.Popen[str], int]]:
    """A chat that has just sent "boom", and its engine."""
    command = [sys.executable, "-c", PARENT, str(path), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            yield parent, int(parent.stdout.readline())
        finally:
            parent.kill()


@pytest.mark.parametrize("victim", ["the interface", "the engine"])
def test_nothing_computes_on_when_the_program_is_killed(victim: str, tmp_path: Path) -> None:
    """In the middle of a rendering: no process waits for its limit."""
    path = tiny_with_template(tmp_path / "trap.gguf", SLOW)
    with chatting(path, tmp_path / "log") as (parent, engine):
        renderer = renderer_of(engine).pid
        os.kill(parent.pid if victim == "the interface" else engine, signal.SIGKILL)
        assert gone(engine, renderer)


def test_the_renderer_is_of_no_terminal_and_ignores_its_signals(engine: Engine, tmp_path: Path) -> None:
    engine.load(tiny("llama", tmp_path), CacheSettings(n_ctx=256))
    engine.open()
    renderer = renderer_of(engine.pid)
    assert os.getsid(renderer.pid) not in (os.getsid(0), os.getsid(engine.pid))
    for of_a_terminal in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
        os.kill(renderer.pid, of_a_terminal)
    engine.send(1, "one two", greedy(2))
    assert renderer_of(engine.pid).pid == renderer.pid


def test_a_renderer_that_was_killed_is_replaced(engine: Engine, tmp_path: Path) -> None:
    """The system may do that, where memory is short: no message is refused for it."""
    engine.load(tiny("llama", tmp_path), CacheSettings(n_ctx=256))
    engine.open()
    first = renderer_of(engine.pid)
    first.kill()
    assert gone(first.pid)
    assert engine.send(1, "one two", greedy(2)).last(Snapshot).n_used > 0
    assert renderer_of(engine.pid).pid != first.pid


def test_the_renderer_is_the_models(engine: Engine, tmp_path: Path) -> None:
    """It is small, one at a time, and goes with the model."""
    engine.load(tiny("llama", tmp_path), CacheSettings(n_ctx=256))
    first = renderer_of(engine.pid)
    assert first.memory_info().rss < 60 << 20
    engine.load(tiny("llama-head-80", tmp_path), CacheSettings(n_ctx=256))
    assert renderer_of(engine.pid).pid != first.pid
    assert gone(first.pid)


ROWS = [{"role": "user", "content": "a <b> é 😀\n"}, {"role": "assistant", "content": "c"}]
FEATURES = {
    "blocks": "  {% if true %}\n  x\n  {% endif %}\ny\n",
    "loop controls": "{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "tojson": "{{ messages | tojson }}{{ messages | tojson(indent=2) }}",
    "dates": "{{ strftime_now('%d %B %Y %Z') }}",
    "generation": "{% generation %}{{ messages[1].content }}{% endgeneration %}",
    "no escapes": "{{ messages[0].content }}",
    "tokens": "{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ add_generation_prompt }}{{ nothing }}",
    "namespaces": "{% set n = namespace(i=0) %}{% for m in messages %}{% set n.i = n.i + 1 %}{% endfor %}{{ n.i }}",
    "macros": "{% macro m(x) %}[{{ x | trim }}]{% endmacro %}{% for m_ in messages %}{{ m(m_.content) }}{% endfor %}",
}


def test_what_is_rendered_is_what_jinja_renders_here() -> None:
    variables = {"bos_token": "<s>", "eos_token": "</s>"}
    for name, source in FEATURES.items():
        process, here = TemplateProcess(source), SandboxedTemplate(source)
        for reply in (False, True):
            there = process.render(ROWS, reply=reply, variables=variables)
            assert there == here.render(ROWS, reply=reply, variables=variables), name
        process.close()


def test_a_long_message_has_the_memory_and_the_time_that_it_needs() -> None:
    process = TemplateProcess(TEMPLATE)
    process.accept()
    rows = [{"role": "user", "content": "é😀 word" * 1_000_000}]
    assert rows[0]["content"] in process.render(rows, reply=True, variables={})
    process.close()


def test_where_the_system_enforces_no_limit_of_memory_the_engine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    process = TemplateProcess("{% set x = messages[0].role * 25000000 %}" + loop)
    monkeypatch.setattr(limits, "MEMORY_BYTES", 0)
    with pytest.raises(ModelError, match="it takes more than 192 MiB of memory"):
        process.render(ROWS, reply=True, variables={})
    process.close()


def test_a_renderer_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    others = renderers_of(os.getpid())
    process = TemplateProcess(TEMPLATE)
    (renderer,) = renderers_of(os.getpid()) - others
    os.kill(renderer.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "PATIENCE_S", 0.3 - limits.LOAD_LIMIT_S)
        with pytest.raises(ModelError, match="its process has not answered for"):
            process.render(ROWS, reply=True, variables={})
    assert gone(renderer.pid)
    assert process.render(ROWS, reply=True, variables={})
    process.close()


def test_a_renderer_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_COMMAND", ["/no/such/python"])
    with pytest.raises(ModelError, match="no process can be started for it: No such file"):
        TemplateProcess(TEMPLATE)
