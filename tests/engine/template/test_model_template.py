"""A chat template of a person's own, and what it is given by name: with the real model, in the real process."""

from collections.abc import Generator
from pathlib import Path

import pytest

from chatapp.engine.template.fallbacks import CHATML
from chatapp.protocol.commands import Load, Spell
from chatapp.protocol.events import Failed, Loaded, Spelled
from chatapp.protocol.values import CacheSettings, EngineSettings
from tests.support.engine.process import Engine, greedy

TURNED = CHATML.replace("<|im_start|>' + m['role']", "<|im_start|>' + (mood | default('calm')) + ' ' + m['role']")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Generator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine") / "log") as engine:
        yield engine


def load(engine: Engine, starter: Path, settings: EngineSettings) -> None:
    engine.post(Load(path=str(starter), cache=CacheSettings(n_ctx=256), engine=settings))


def test_a_template_of_ones_own_is_used_with_the_values_that_it_reads(
    engine: Engine, starter: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.jinja").write_text(TURNED, encoding="utf-8")
    settings = EngineSettings(
        chat_template=str(tmp_path / "own.jinja"), template_args=(("mood", "cheerful"), ("tone", 3))
    )
    load(engine, starter, settings)
    assert engine.until(Loaded).one(Loaded).warnings == ["The chat template does not read tone (engine.template_args)."]
    engine.open()
    engine.send(1, "Hello", greedy(2))
    engine.post(Spell(pos=0, n=20))
    text = "".join(engine.until(Spelled).one(Spelled).pieces)
    assert text.startswith("<|im_start|>cheerful user\nHello<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "own.jinja cannot be read: No such file or directory."),
        (b"\xff\xfe", "own.jinja is not valid UTF-8 (byte 0)."),
        (b"{% for %}", "own.jinja: The model's chat template cannot be parsed: "),
        (b"Hello!", "own.jinja: The model's chat template omits or repeats the messages."),
    ],
)
def test_one_that_does_not_work_is_refused_by_name(
    engine: Engine, starter: Path, tmp_path: Path, content: bytes | None, said: str
) -> None:
    """It was asked for: to chat with another one in silence would hide the mistake."""
    if content is not None:
        (tmp_path / "own.jinja").write_bytes(content)
    load(engine, starter, EngineSettings(chat_template=str(tmp_path / "own.jinja")))
    failed = engine.until(Failed).one(Failed)
    assert said in failed.what
    assert failed.todo
