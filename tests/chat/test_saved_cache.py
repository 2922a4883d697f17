"""The cache on disk, as the interface uses it: written at the end, handed over when a conversation is opened again."""

from pathlib import Path

from chatapp.chat.view import Phase
from chatapp.protocol.commands import Cancel, Open, Save, Send
from tests.support.fake_engine.llama import pieces
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, phase, ready, say, until


async def test_the_cache_is_saved_at_the_end_and_offered_at_the_next_beginning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keeps_caches=True)
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.press("ctrl+q")
    (saved,) = bench.of(Save)
    assert Path(saved.path).parent == tmp_path
    bench.posted.clear()
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        (opened,) = bench.of(Open)
        assert opened.state == saved.path
        assert [message.text for message in opened.messages] == ["Hello", bench.scripts[0].replies[0]]
        asked, reply = opened.messages
        assert asked.tokens == b""
        assert len(reply.tokens) == 4 * len(pieces(reply.text)), "the very tokens that the model made"
        assert reply.model


async def test_nothing_is_saved_of_a_conversation_without_a_word(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keeps_caches=True)
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("ctrl+q")
    assert bench.of(Save) == []


async def test_going_to_another_conversation_saves_the_one_that_is_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keeps_caches=True)
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.press("ctrl+n")
        await ready(pilot)
        assert [type(command) for command in bench.posted][-2:] == [Save, Open]


async def test_leaving_in_the_middle_of_a_reply_stops_it_and_saves_the_cache(tmp_path: Path) -> None:
    """Else the longest conversations, which are left in a reply, would have to be processed again."""
    bench = Bench(tmp_path, [Script(replies=("word " * 50,), hold_after=20)], keeps_caches=True)
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        await pilot.press("ctrl+q")
    kinds = [type(command) for command in bench.posted if isinstance(command, Send | Cancel | Save)]
    assert kinds == [Send, Cancel, Save]
    assert bench.stored()[-1][3] == "stopped"
