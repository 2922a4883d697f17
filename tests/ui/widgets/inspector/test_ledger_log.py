"""The ledger log on the screen: it follows, it is filtered and copied, and it takes the room that there is."""

import pytest
from textual.widgets import Log

from chatapp.ui.widgets.inspector.ledger_log import LedgerLog
from chatapp.ui.widgets.inspector.section import Section, SectionTitle
from tests.support.presentation.inspector_events import NOON_S, done, loaded, story
from tests.support.ui.inspector_app import InspectorApp, text_of

SIZE = (40, 60)


async def test_the_log_follows_the_newest_line_unless_a_person_scrolled_up() -> None:
    app = InspectorApp([loaded(), *story()])
    async with app.run_test(size=SIZE) as pilot:
        for turn in range(9, 30):
            app.feed(done(turn, reply=3, reused=9, at_s=NOON_S, decode_tok_s=50.0))
        await pilot.pause()
        log = app.query_one(Log)
        assert "reply   29" in text_of(log)
        log.scroll_home(animate=False)
        await pilot.pause()
        app.feed(done(30, reply=3, reused=9, at_s=NOON_S, decode_tok_s=50.0))
        await pilot.pause()
        assert "reply   30" not in text_of(log)
        assert "open" in text_of(log)


async def test_the_log_is_copied_as_text() -> None:
    app = InspectorApp([loaded(), *story()])
    async with app.run_test(size=SIZE) as pilot:
        app.query_one(Log).focus()
        await pilot.press("c")
        lines = app.clipboard.splitlines()
        assert lines[0].split() == ["time", "what", "turn", "tokens", "processed", "cached", "took", "why"]
        assert len(lines) == 1 + 7
        assert "-1,356" in app.clipboard


async def test_a_key_shows_one_kind_of_line_alone() -> None:
    """`f` goes through the kinds that there are; what is shown is what is copied and counted, also as more comes."""
    app = InspectorApp([loaded(), *story()])
    async with app.run_test(size=SIZE) as pilot:
        log = app.query_one(LedgerLog)
        app.query_one(Log).focus()
        seen: list[str] = []
        for _ in range(6):
            await pilot.press("f")
            seen.append(log.only)
        assert seen == ["open", "prefill", "reply", "evict", "shift", "warn"]
        log.show_only("evict")
        await pilot.press("c")
        assert [line.split()[1] for line in app.clipboard.splitlines()[1:]] == ["evict"]
        app.feed(story()[5], done(9, reply=3, reused=9, at_s=NOON_S, decode_tok_s=None))
        await pilot.pause()
        shown = text_of(app.query_one(Log)).split()
        assert shown.count("evict") == 2
        assert "reply" not in shown
        titles = [text_of(title) for title in app.query(SectionTitle)]
        assert any("Ledger  evict: 2 of 10" in title for title in titles)
        log.show_only("warn")
        await pilot.press("f")
        assert log.only == ""
        await pilot.pause()
        assert "reply" in text_of(app.query_one(Log))


async def test_a_ledger_with_the_whole_screen_has_reasons_and_sums() -> None:
    """Zoomed to 120 columns: what every kind cost together above, every reason whole; back in its place neither."""
    app = InspectorApp([loaded(), *story()])
    async with app.run_test(size=(120, 36)) as pilot:
        app.screen.maximize(app.query_one(LedgerLog).query_ancestor(Section), container=False)
        await pilot.pause()
        sums = text_of(app.query_one("#sums"))
        assert "evict       1×   -1,356 tok 0.4ms" in sums
        assert "reply       2×      +71 tok" in sums
        assert "keys are rotated in the next decode; this is its time" in " ".join(text_of(app.query_one(Log)).split())
        assert app.query_one(Log).size.height > 20
        app.query_one("#side").styles.width = 44
        app.screen.minimize()
        await pilot.pause()
        assert not app.query_one("#sums").display
        assert app.query_one(Log).size.height == 6


@pytest.mark.parametrize(("width", "last"), [(27, "tok"), (34, "took"), (38, "cache"), (44, "cache")])
async def test_no_number_of_the_log_is_cut(width: int, last: str) -> None:
    """A column is shown whole or not at all, and its figures stand under its name."""
    app = InspectorApp([loaded(), *story()])
    async with app.run_test(size=(width, 70)) as pilot:
        await pilot.pause()
        names = text_of(app.query_one("#heading"))
        assert names.endswith(last)
        reply = next(line for line in text_of(app.query_one(Log)).splitlines() if " reply   7 " in line)
        figure = {"tok": "+37", "took": "1.8s", "cache": "331"}[last]
        assert reply[: len(names)].endswith(figure)
