"""A long conversation on the screen: few widgets, every message within reach, nothing jumps."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from chatapp.chat.conversation import ChatMessage
from chatapp.store import Store
from chatapp.ui.widgets.inspector.cell_grid import TurnChosen
from chatapp.ui.widgets.transcript.transcript import MOST, PAGE
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import (
    Bench,
    chat_screen,
    notices,
    phase,
    ready,
    say,
    shown,
    transcript,
    until,
)

TURNS = 500


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A store with one conversation of a thousand messages."""
    bench = Bench(tmp_path)
    with Store.open(bench.db) as store:
        session = store.new_session(model="starter", system=None, settings={})
        parent: int | None = None
        for turn in range(1, TURNS + 1):
            parent = store.add_message(session.id, parent_id=parent, turn=turn, role="user", text=f"Question {turn}")
            text = f"Answer {turn}.\n\n- one\n- two"
            parent = store.add_message(session.id, parent_id=parent, turn=turn, role="assistant", text=text)
    return bench


async def test_a_thousand_messages_are_a_few_widgets(bench: Bench) -> None:
    """The end is drawn; a line says how many came before; sending goes on at the end."""
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        assert turns(pilot)[-1] == TURNS
        assert len(shown(pilot)) <= PAGE
        assert "988 older messages" in str(chat_screen(pilot).query_one("#older").render())
        for number in range(15):
            await say(pilot, f"more {number}")
            await ready(pilot)
        assert len(shown(pilot)) <= MOST
        assert turns(pilot)[-1] == TURNS + 15


async def test_the_keyboard_reaches_every_message_without_a_gap(bench: Bench) -> None:
    """Up, again and again, chooses each message in turn over several pages; the oldest widgets make room."""
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        await pilot.press("f8")
        seen: list[str] = []
        for _ in range(4 * PAGE):
            await until(
                pilot, lambda: (view := transcript(pilot).chosen) is not None and view.said.text not in seen[-1:]
            )
            chosen = transcript(pilot).chosen
            assert chosen is not None
            seen.append(chosen.said.text)
            assert len(shown(pilot)) <= MOST
            await pilot.press("up")
        messages = [item.text for item in transcript(pilot).items if isinstance(item, ChatMessage)]
        expected = messages[: -len(seen) - 1 : -1]
        assert seen == expected


async def test_older_messages_come_without_moving_what_is_read(bench: Bench) -> None:
    """The message at the top of the screen is still there, at the same height, after the page before it came."""
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        view = transcript(pilot)
        view.scroll_home(animate=False)
        await until(pilot, lambda: len(shown(pilot)) > PAGE and not view._moving)  # pyright: ignore[reportPrivateUsage]
        top = next(message for message in shown(pilot) if message.said.turn == TURNS - PAGE // 2 + 1)
        assert abs(top.region.y - view.region.y) <= 3


async def test_the_beginning_and_the_end_are_one_key_away(bench: Bench) -> None:
    """Ctrl+Home shows turn 1, Ctrl+End the last one; a reply goes on growing meanwhile and is whole then."""
    words = "word " * 200
    bench.scripts = [Script(replies=(words,), hold_after=50)]
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Go on")
        await until(pilot, lambda: phase(pilot).value == "replying")
        await pilot.press("ctrl+home")
        await until(pilot, lambda: turns(pilot)[0] == 1)
        bench.engines[0].release()
        await ready(pilot)
        assert turns(pilot)[0] == 1
        await pilot.press("ctrl+end")
        await until(pilot, lambda: turns(pilot)[-1] == TURNS + 1)
        await ready(pilot)
        assert transcript(pilot).is_vertical_scroll_end
        last = shown(pilot)[-1]
        assert last.said.text == words.rstrip() + " "
        assert words.split() == str(last.query_one("SafeMarkdown > MarkdownBlock").render()).split()


async def test_pages_come_where_a_dialog_that_closes_takes_a_callback_along(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Textual hands a callback after a refresh to the topmost screen; one that is closed never calls it."""
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        view = transcript(pilot)

        def lost(*_: object, **_options: object) -> bool:
            return True

        monkeypatch.setattr(view, "call_after_refresh", lost)
        view.scroll_home(animate=False, immediate=True)
        await until(pilot, lambda: len(shown(pilot)) > PAGE and not view._moving)  # pyright: ignore[reportPrivateUsage]


async def test_a_turn_chosen_in_the_cache_map_is_gone_to(bench: Bench) -> None:
    """Wherever it is in the conversation."""
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        chat_screen(pilot).post_message(TurnChosen(250))
        await until(pilot, lambda: (view := transcript(pilot).chosen) is not None and view.said.turn == 250)
        assert transcript(pilot).chosen in shown(pilot)


async def test_a_reader_is_not_pulled_to_the_end(bench: Bench) -> None:
    """While the person reads above, a growing reply does not move the page."""
    bench.scripts = [Script(replies=("line\n\n" * 100,), hold_after=1)]
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Go on")
        await until(pilot, lambda: phase(pilot).value == "replying")
        transcript(pilot).scroll_to(y=transcript(pilot).scroll_y - 8, animate=False)
        await pilot.pause()
        top = transcript(pilot).scroll_y
        bench.engines[0].release()
        await ready(pilot)
        assert transcript(pilot).scroll_y == top
        assert list(notices(pilot))


def turns(pilot: Pilot[None]) -> list[int]:
    """The turns that are drawn."""
    return [view.said.turn for view in shown(pilot)]
