"""What a model thinks is seen apart from its answer: one line that counts, and the thoughts when they are asked for."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from chatapp.chat.conversation import ChatMessage
from chatapp.chat.thought_clock import ThoughtClock
from chatapp.config.models import Config, UiConfig
from chatapp.protocol.commands import AnswerNow
from chatapp.protocol.events import Text
from chatapp.store import Store
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.transcript.message import MessageView
from chatapp.ui.widgets.transcript.thoughts import thoughts_line
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, chat_screen, notices, ready, say, shown, transcript, until

NARROW, WIDE = (80, 24), (120, 36)
REPLY = (
    "<think>\nA whale is a mammal, so it breathes air. The \x1b[31mquestion is short.\n</think>\n\nThey are mammals."
)
THINKS = Script(replies=(REPLY,), thinks=True)
HELD = Script(replies=(REPLY,), thinks=True, hold_after=8)

Run = Callable[[Pilot[None]], Awaitable[None]]


class Picture(Protocol):
    """Compare the app with its picture, after `run`."""

    def __call__(self, run: Run, size: tuple[int, int]) -> None: ...


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """However busy the machine is, a thought takes 0 s."""
    take = ThoughtClock.take

    def at_once(self: ThoughtClock, event: Text, reply: ChatMessage) -> None:
        take(self, event, reply)
        if reply.thought_s is not None:
            reply.thought_s = 0.0

    monkeypatch.setattr(ThoughtClock, "take", at_once)
    return Bench(tmp_path, [THINKS])


@pytest.fixture
def picture(bench: Bench, snap_compare: Callable[..., bool]) -> Picture:
    def compare(run: Run, size: tuple[int, int]) -> None:
        async def before(pilot: Pilot[None]) -> None:
            await until(pilot, lambda: bool(chat_screen(pilot).query(Prompt)))
            chat_screen(pilot).query_one(Prompt).cursor_blink = False
            await run(pilot)
            await pilot.pause(0.3)

        assert snap_compare(bench.app(), terminal_size=size, run_before=before)

    return compare


async def asked(pilot: Pilot[None]) -> None:
    """One question, and its reply."""
    await ready(pilot)
    await say(pilot, "What are whales?")
    await ready(pilot)


async def held(pilot: Pilot[None]) -> None:
    """One question, and a model that is in the middle of its thoughts."""
    await ready(pilot)
    await say(pilot, "What are whales?")
    await until(pilot, lambda: "· 8 tokens" in line(pilot))
    await until(pilot, lambda: "16/512" in pilot.app.export_screenshot())
    await pilot.pause(0.2)


def reply(pilot: Pilot[None]) -> MessageView | None:
    """The widget of the last reply."""
    views = [view for view in transcript(pilot).query(MessageView) if view.said.role == "assistant"]
    return views[-1] if views else None


def part(pilot: Pilot[None], name: str) -> str:
    """What one part of the last reply says; empty where it is not shown."""
    view = reply(pilot)
    found = [] if view is None else [each for each in view.query(name).results(Static) if each.region.height]
    return str(found[0].render()) if found else ""


def line(pilot: Pilot[None]) -> str:
    """The line of the last reply's thoughts."""
    return part(pilot, ".line")


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_folded_thoughts(picture: Picture, size: tuple[int, int]) -> None:
    """Between the model's name and its answer, one grey line: thought for 0 s, its tokens, and a mark to unfold it."""
    picture(asked, size)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_unfolded_thoughts(picture: Picture, size: tuple[int, int]) -> None:
    """Under the line, indented and dim, what the model thought; then the answer in full colour."""

    async def run(pilot: Pilot[None]) -> None:
        await asked(pilot)
        await say(pilot, "/thoughts")

    picture(run, size)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_a_model_in_thought(picture: Picture, bench: Bench, size: tuple[int, int]) -> None:
    """The line says that it is thinking, and how many tokens so far; there is no answer yet."""
    bench.scripts = [HELD]
    picture(held, size)


async def test_a_click_and_a_command_unfold_and_fold_the_thoughts(bench: Bench) -> None:
    """No control of theirs comes to the terminal, and the message's text is the answer alone."""
    async with bench.app().run_test(size=NARROW) as pilot:
        await asked(pilot)
        assert line(pilot).startswith("thought for 0 s · ")
        assert line(pilot).endswith(" tokens ▸")
        assert part(pilot, ".thought") == ""
        await pilot.click("MessageView .line")
        await pilot.pause()
        assert "The ␛[31mquestion" in part(pilot, ".thought")
        assert line(pilot).endswith("▾")
        assert transcript(pilot).chosen is None
        await say(pilot, "/thoughts")
        await until(pilot, lambda: part(pilot, ".thought") == "")
        assert shown(pilot)[-1].said.text == "They are mammals."


async def test_answer_ends_a_thought_and_says_where_there_is_none(bench: Bench) -> None:
    bench.scripts = [HELD]
    async with bench.app().run_test(size=NARROW) as pilot:
        await ready(pilot)
        await say(pilot, "/answer")
        await until(pilot, lambda: "Nothing is thinking now." in notices(pilot))
        assert bench.of(AnswerNow) == []
        await held(pilot)
        await say(pilot, "/answer")
        await until(pilot, lambda: len(bench.of(AnswerNow)) == 1)


async def test_a_reply_stopped_in_its_thoughts_says_once_that_no_answer_came(bench: Bench) -> None:
    bench.scripts = [HELD]
    async with bench.app().run_test(size=NARROW) as pilot:
        await held(pilot)
        await pilot.press("escape")
        await ready(pilot)
        await until(pilot, lambda: part(pilot, ".foot").startswith("no answer came"))
        assert line(pilot).startswith("thought for 0 s · ")
        assert [notice for notice in notices(pilot) if "answer" in notice] == []


@pytest.mark.parametrize(
    ("thoughts", "seen"), [("folded", (True, False)), ("open", (True, True)), ("hidden", (False, False))]
)
async def test_a_stored_reply_shows_its_thoughts_as_the_config_says(
    bench: Bench, thoughts: str, seen: tuple[bool, bool]
) -> None:
    """Its seconds are not known; a reply without thoughts has no line."""
    bench.config = Config(ui=UiConfig.model_validate({"thoughts": thoughts}))
    with Store.open(bench.db) as store:
        session = store.new_session(model="starter", system=None, settings={})
        parent = store.add_message(session.id, parent_id=None, turn=1, role="user", text="What are whales?")
        reply_id = store.add_message(session.id, parent_id=parent, turn=1, role="assistant", text="", state="growing")
        store.append_text(reply_id, "They are mammals.", "They breathe air.")
    async with bench.app(resume=True).run_test(size=NARROW) as pilot:
        await ready(pilot)
        assert (bool(line(pilot)), bool(part(pilot, ".thought"))) == seen
        assert line(pilot)[:-2] == ("thought" if seen[0] else "")
        await say(pilot, "/thoughts")
        await until(pilot, lambda: bool(part(pilot, ".thought")) != seen[1])


def test_the_clock_runs_from_the_first_thought_to_the_answer() -> None:
    clock, said = ThoughtClock(), ChatMessage(turn=1, role="assistant", text="", state="growing")
    lines: list[str] = []
    for at_s, text, reasoning, tokens in (
        (5, "", "Hm.", 3),
        (17, "", " So.", 4),
        (19, "Yes.", "", 1),
        (40, "!", "", 1),
    ):
        clock.take(Text(at_s=at_s, turn=1, text=text, reasoning=reasoning, tokens=tokens), said)
        said.text, said.reasoning = said.text + text, said.reasoning + reasoning
        lines.append(thoughts_line(said))
    assert lines == [
        "thinking · 0 s · 3 tokens",
        "thinking · 12 s · 7 tokens",
        "thought for 14 s · 7 tokens",
        "thought for 14 s · 7 tokens",
    ]


def test_a_reply_that_does_not_think_has_no_time_of_thoughts() -> None:
    clock, said = ThoughtClock(), ChatMessage(turn=1, role="assistant", text="", state="growing")
    clock.take(Text(at_s=5, turn=1, text="Yes.", tokens=1), said)
    assert said.thought_s is None
