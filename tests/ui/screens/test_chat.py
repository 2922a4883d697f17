"""The chat through its keys and its screen, on a scripted engine and a real store."""

import threading
from pathlib import Path

import pytest
from textual.message import Message as TextualMessage
from textual.pilot import Pilot
from textual.widgets import Static

from chatapp.chat.view import Phase
from chatapp.config import Config
from chatapp.errors import StoreError
from chatapp.presentation.visibility import Visibility
from chatapp.protocol.commands import Cancel, Forecast, Load, Open, Regenerate, Save, Send, Undo
from chatapp.protocol.events import Failed
from chatapp.store import Store
from chatapp.ui.bridge import EngineSaid
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.status import ProgressLine, StatusBar
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import (
    Bench,
    chat_screen,
    draft,
    notices,
    phase,
    ready,
    say,
    shown,
    spoken,
    until,
)

HELD = Script(replies=("one two three four five six seven eight nine ten " * 20,), hold_after=50)
UNBEGUN = Script(hold_after=0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_message_is_stored_before_it_is_sent_and_its_reply_after_it_ended(bench: Bench) -> None:
    """What the engine is asked is in the store already at that moment."""
    at_send: list[list[tuple[int, str, str, str]]] = []
    app = bench.app()
    async with app.run_test() as pilot:
        await ready(pilot)
        bench.watch = lambda command: at_send.append(bench.stored()) if isinstance(command, Send) else None
        await say(pilot, "Hello")
        await ready(pilot)
        assert at_send == [[(1, "user", "Hello", "done")]]
        assert bench.stored() == [(1, "user", "Hello", "done"), (1, "assistant", bench.scripts[0].replies[0], "done")]
        assert spoken(pilot) == ["Hello", bench.scripts[0].replies[0]]


async def test_the_engines_events_come_in_order_and_no_text_is_lost(bench: Bench) -> None:
    """The flow of messages of one turn, as Textual delivers it."""
    seen: list[EngineSaid] = []

    def hook(message: TextualMessage) -> None:
        if isinstance(message, EngineSaid) and not any(message is known for known in seen):
            seen.append(message)

    app = bench.app()
    async with app.run_test(message_hook=hook) as pilot:
        await ready(pilot)
        seen.clear()
        await say(pilot, "Hello")
        await ready(pilot)
    names = [type(message.event).__name__ for message in seen]
    flow = [name for name in dict.fromkeys(names) if name != "Snapshot"]
    assert flow == ["TurnStarted", "Prefilled", "Text", "TurnDone"]
    text = "".join(getattr(message.event, "text", "") for message in seen)
    assert text == bench.scripts[0].replies[0]


async def test_a_reply_is_stored_as_it_grows(bench: Bench) -> None:
    """Another process that looks in the middle of a reply finds most of it."""
    bench.scripts = [HELD]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Go on")
        await until(pilot, lambda: len(bench.stored()) == 2 and bench.stored()[1][2].count(" ") == 49)
        assert HELD.replies[0].startswith(bench.stored()[1][2])
        await pilot.press("escape")


async def test_escape_stops_and_keeps_the_partial_reply(bench: Bench) -> None:
    """The engine is told to cancel; what has come stays on the screen and in the store, marked as stopped."""
    bench.scripts = [HELD]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Go on")
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        await pilot.press("escape")
        await ready(pilot)
        assert len(bench.of(Cancel)) == 1
        turn, _, text, state = bench.stored()[1]
        assert (turn, state) == (1, "stopped")
        assert text == HELD.replies[0][: len(text)]
        assert text.count(" ") == 49
        assert spoken(pilot)[1] == text


async def test_garbage_is_collected_when_the_model_is_there_and_behind_each_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full collection stops the interface for 60 ms: never while a reply comes."""
    monkeypatch.setattr("chatapp.ui.screens.chat.SETTLE_AFTER_S", 0.01)
    bench.scripts = [HELD]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        assert bench.settled == 1
        for turn in (2, 3):
            await say(pilot, "Go on")
            await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
            await pilot.pause(0.05)
            assert bench.settled == turn - 1
            await pilot.press("escape")
            await ready(pilot)
            await until(pilot, lambda expected=turn: bench.settled == expected)
        await say(pilot, "Go on")
        await say(pilot, "And on")  # waits, and is sent when the reply ends
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        bench.engines[-1].release()
        await until(pilot, lambda: len(bench.of(Send)) == 4 and phase(pilot) is Phase.REPLYING)
        await pilot.pause(0.05)
        assert bench.settled == 3, "the next reply has begun"


async def test_what_is_sent_during_a_reply_waits_its_turn(bench: Bench) -> None:
    """Queued messages are shown, go out one after the other, and Up in an empty prompt takes the last one back."""
    bench.scripts = [HELD]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await say(pilot, "second")
        await say(pilot, "third")
        assert [send.text for send in bench.of(Send)] == ["first"]
        assert "queued  second" in str(chat_screen(pilot).query_one("#queue").render())
        await pilot.press("up")
        await until(pilot, lambda: draft(pilot) == "third")
        bench.engines[0].release()
        await until(pilot, lambda: len(bench.of(Send)) == 2)
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        bench.engines[0].release()
        await ready(pilot)
        assert [send.text for send in bench.of(Send)] == ["first", "second"]
        assert [row[0] for row in bench.stored()] == [1, 1, 2, 2]


async def test_escape_brings_the_queue_back(bench: Bench) -> None:
    """A person who stops a reply does not want the next message sent at once."""
    bench.scripts = [HELD]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await say(pilot, "second")
        await pilot.press("escape")
        await ready(pilot)
        assert draft(pilot) == "second"
        assert len(bench.of(Send)) == 1


async def test_typing_and_queueing_work_before_the_store_and_the_model_are_there(bench: Bench) -> None:
    """The screen is up and takes a message while the store is stuck; it is sent when everything is ready."""
    go = threading.Event()

    def slow_store() -> Store:
        go.wait(10)
        return Store.open(bench.db)

    bench.open_store = slow_store
    async with bench.app().run_test() as pilot:
        await say(pilot, "early")
        assert bench.engines == []
        go.set()
        await until(pilot, lambda: len(bench.of(Send)) == 1)
        await ready(pilot)
        assert [row[2] for row in bench.stored()] == ["early", "Hello. What shall we talk about?"]


async def test_regenerate_makes_another_reply_and_keeps_the_old_one_stored(bench: Bench) -> None:
    """The branch shows the new reply; the tree still holds both."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(bench.of(Regenerate)) == 1)
        await ready(pilot)
        assert [row[1] for row in bench.stored()] == ["user", "assistant"]
        with Store.open(bench.db) as store:
            assert len(store.tree(1)) == 3


async def test_a_refused_regenerate_gives_the_old_reply_back(bench: Bench) -> None:
    """Where the engine cannot make another one, the reply that was there comes back."""
    why = Failed(at_s=0, kind="user", what="The start of this reply has left the window.", todo="Send it again.")
    bench.scripts = [Script(regenerate_failure=why)]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        before = bench.stored()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: any("has left the window" in line for line in notices(pilot)))
        await ready(pilot)
        assert bench.stored() == before
        assert before[1][2] in spoken(pilot)


async def test_undo_takes_the_turn_back_into_the_prompt(bench: Bench) -> None:
    """The engine drops the turn, the branch ends before it, and its message can be written anew."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        for text in ("first", "second"):
            await say(pilot, text)
            await ready(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: draft(pilot) == "second")
        assert [undo.turn for undo in bench.of(Undo)] == [2]
        assert bench.stored()[0][2] == "first"
        assert len(bench.stored()) == 2
        assert any("Rolled back" in line for line in notices(pilot))


async def test_a_turn_stopped_before_its_first_token_can_be_sent_again(bench: Bench) -> None:
    """The engine keeps no such turn, so it must not be asked to undo or regenerate it."""
    bench.scripts = [UNBEGUN]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await pilot.press("escape")
        await ready(pilot)
        assert bench.stored()[1] == (1, "assistant", "", "stopped")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(bench.of(Send)) == 2)
        await pilot.press("escape")
        await ready(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: draft(pilot) == "Hello")
        assert bench.of(Regenerate) == []
        assert bench.of(Undo) == []


async def test_clear_begins_a_new_conversation_and_keeps_the_old_one(bench: Bench) -> None:
    """Nothing is shown any more; the engine holds an empty conversation; the store holds two after the next message."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await say(pilot, "/clear")
        await until(pilot, lambda: spoken(pilot) == [])
        await ready(pilot)
        assert bench.of(Open)[-1].messages == []
        await say(pilot, "Anew")
        await ready(pilot)
        with Store.open(bench.db) as store:
            assert [session.title for session in store.sessions()] == ["Anew", "Hello"]


async def test_an_eviction_is_said_and_seen(bench: Bench) -> None:
    """A notice names the turns that left; the edges of their messages change; later ones stay in the window."""
    bench.scripts = [Script(replies=("word " * 60,), n_ctx=256)]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        for number in range(1, 5):
            await say(pilot, f"question {number}")
            await ready(pilot)
        assert "Turn 1 was evicted: 66 tokens." in list(notices(pilot))
        visibility = {view.said.turn: view.visibility for view in shown(pilot)}
        assert visibility[1] is Visibility.EVICTED
        assert visibility[4] is Visibility.WINDOW
        assert "evicted" in str(shown(pilot)[0].query_one(".head").render())


async def test_an_engine_that_dies_in_a_reply_is_replaced_and_the_person_goes_on(bench: Bench) -> None:
    """The partial reply stays, one line says why, a new engine gets the conversation, and the next turn works."""
    dying = Script(replies=("one two three four five six",), die_in_turn=2, die_after=3)
    bench.scripts = [dying, Script()]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        for text in ("first", "second"):
            await say(pilot, text)
            await until(pilot, lambda: phase(pilot) is not Phase.READING)
            await ready(pilot)
        assert bench.stored()[3] == (2, "assistant", "one two three", "failed")
        assert any(line.startswith(dying.death) for line in notices(pilot))
        assert len(bench.engines) == 2
        assert [message.text for message in bench.of(Open)[-1].messages] == [
            "first", "one two three four five six", "second", "one two three",
        ]  # fmt: skip
        await say(pilot, "third")
        await ready(pilot)
        assert bench.stored()[5][3] == "done"


async def test_an_engine_that_keeps_dying_is_not_started_for_ever(bench: Bench) -> None:
    """After the second death the person is told the keys; F5 starts it again."""
    dying = Script(die_in_turn=1, die_after=1)
    bench.scripts = [dying, dying, Script()]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await until(pilot, lambda: len(bench.engines) == 2)
        await ready(pilot)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: phase(pilot) is Phase.DOWN)
        assert len(bench.engines) == 2
        assert "F5 restarts it" in list(notices(pilot))[-1]
        await say(pilot, "waiting")
        await pilot.press("f5")
        await ready(pilot)
        assert len(bench.engines) == 3
        assert bench.stored()[-1][3] == "done"


async def test_an_engine_that_cannot_start_is_told(bench: Bench) -> None:
    """The screen stays up with the reason."""
    bench.scripts = [Script(start_error="The engine process cannot be started: no memory.")]
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: len(bench.engines) == 2 and phase(pilot) is Phase.DOWN)
        assert any("cannot be started" in line for line in notices(pilot))


async def test_a_model_that_cannot_be_loaded_leaves_a_chat_that_can_take_another(bench: Bench) -> None:
    """What and todo are shown; /model loads another one in a new engine, and it is remembered once it is loaded."""
    failed = Failed(at_s=0, kind="model", what="broken.gguf is truncated.", todo="Pull it again.")
    bench.scripts = [Script(load_failure=failed), Script()]
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: phase(pilot) is Phase.DOWN)
        assert "broken.gguf is truncated. Pull it again." in list(notices(pilot))
        assert bench.remembered == []
        await say(pilot, "/model gemma3-270m")
        await ready(pilot)
        assert bench.of(Load)[-1].path == "/models/gemma3-270m.gguf"
        assert bench.remembered == ["gemma3-270m"]


async def test_an_unknown_model_changes_nothing(bench: Bench) -> None:
    """One line says so; the model that runs goes on."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/model nonsense")
        await until(pilot, lambda: any("nonsense" in line for line in notices(pilot)))
        assert len(bench.engines) == 1
        await say(pilot, "Hello")
        await ready(pilot)
        assert len(bench.stored()) == 2


async def test_resume_brings_the_last_conversation_back(bench: Bench) -> None:
    """Its messages are shown and given to the engine; the next turn goes on counting."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        assert spoken(pilot)[:2] == ["Hello", bench.scripts[0].replies[0]]
        assert len(bench.of(Open)[-1].messages) == 2
        await say(pilot, "More")
        await ready(pilot)
        assert [row[0] for row in bench.stored()] == [1, 1, 2, 2]
        await pilot.press("up")
        await pilot.press("up")
        assert draft(pilot) == "Hello"


async def test_a_named_conversation_is_begun_and_found_again(bench: Bench) -> None:
    """`--session NAME` makes it the first time and goes on with it the second."""
    for _ in range(2):
        async with bench.app(session="trip").run_test() as pilot:
            await ready(pilot)
            await say(pilot, "Hello")
            await ready(pilot)
    assert len(bench.stored()) == 4


async def test_a_store_that_cannot_be_opened_sends_nothing_and_loses_nothing(bench: Bench) -> None:
    """The error is shown, the message goes back into the prompt, and sending again tries again."""
    broken = [True]

    def store() -> Store:
        if broken[0]:
            raise StoreError("The database is locked by another program.", "Close that one.")
        return Store.open(bench.db)

    bench.open_store = store
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: any("locked" in line for line in notices(pilot)))
        await say(pilot, "Hello")
        await until(pilot, lambda: draft(pilot) == "Hello")
        broken[0] = False
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.of(Send)) == 1)
        await ready(pilot)
        assert len(bench.stored()) == 2


async def test_a_reply_that_cannot_be_written_is_told_once_and_written_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle of a reply: one line, and everything is there once there is room."""
    bench.scripts = [Script(replies=("one two three four five six seven eight nine ten",), token_s=0.1)]
    append = Store.append_text
    full = [True]

    def refuse(self: Store, message_id: int, delta: str, reasoning: str = "") -> None:
        if full[0]:
            raise StoreError("The disk is full.", "Free some space.")
        append(self, message_id, delta, reasoning)

    monkeypatch.setattr(Store, "append_text", refuse)
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: phase(pilot) is Phase.IDLE)
        assert [line for line in notices(pilot) if "disk is full" in line] == [
            "The reply is not stored yet: The disk is full. Free some space."
        ]
        full[0] = False
        await until(pilot, lambda: bench.stored()[-1][3] == "done")
        assert bench.stored()[1][2] == bench.scripts[0].replies[0]


async def test_sinks_that_are_measured_show_how_far_that_is_and_what_came_of_it(bench: Bench) -> None:
    """A model's first load with `sinks: auto` takes some seconds; a person must see why."""
    bench.config = Config.model_validate({"cache": {"sinks": "auto"}})
    bench.scripts = [Script(hold_sinks=True)]
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: phase(pilot) is Phase.MEASURING)
        assert "640/1,856 tokens" in str(chat_screen(pilot).query_one(ProgressLine).render())
        bench.engines[-1].release()
        await ready(pilot)
        assert any("The first token is kept as a sink. Measured: the fewest" in line for line in notices(pilot))


async def test_escape_gives_a_measurement_of_sinks_up_and_the_chat_goes_on(bench: Bench) -> None:
    bench.config = Config.model_validate({"cache": {"sinks": "auto"}})
    bench.scripts = [Script(hold_sinks=True)]
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: phase(pilot) is Phase.MEASURING)
        await say(pilot, "Hello")
        await pilot.press("escape")
        await until(pilot, lambda: len(bench.stored()) == 2)
        await ready(pilot)
        assert any("The first 4 tokens are kept as sinks. Not measured" in line for line in notices(pilot))
        assert bench.stored()[0][2] == "Hello"


async def test_warnings_of_the_engine_and_of_the_settings_are_shown(bench: Bench) -> None:
    """A model's warning, an unknown theme and an unknown key each give one line with what to do."""
    bench.scripts = [Script(warnings=("This model was trained for 2,048 tokens.",))]
    bench.config = Config.model_validate({"ui": {"theme": "nosuch"}, "keys": {"undoo": "f9"}})
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        lines = "\n".join(notices(pilot))
        assert "trained for 2,048" in lines
        assert "There is no theme nosuch" in lines
        assert "Did you mean undo?" in lines


async def test_a_forecast_stands_in_the_border_of_the_prompt(bench: Bench) -> None:
    """Before sending, a person sees how many tokens the draft has and what will leave."""
    bench.scripts = [Script(replies=("word " * 100,), n_ctx=256)]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        chat_screen(pilot).query_one(Prompt).insert("word " * 170)
        await until(pilot, lambda: "evicts turn 1" in str(chat_screen(pilot).query_one(Prompt).border_subtitle))


async def test_the_status_bar_says_model_window_policy_device_and_state(bench: Bench) -> None:
    """All of it is there at 120 columns."""
    async with bench.app().run_test(size=(120, 36)) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        line = str(chat_screen(pilot).query_one(StatusBar).render())
        for word in ("ready", "starter", "/512 tokens", "sinks", "CPU", "61 tok/s"):
            assert word in line


@pytest.mark.parametrize("size", [(20, 5), (10, 3), (40, 10), (250, 70)])
async def test_any_size_of_terminal_works(bench: Bench, size: tuple[int, int]) -> None:
    """A chat goes on in a terminal of 20x5 and in a huge one, and through a resize."""
    async with bench.app().run_test(size=size) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.resize_terminal(80, 24)
        await pilot.press("f2")
        await pilot.resize_terminal(*size)
        await ready(pilot)
        assert len(bench.stored()) == 2


TOLD = "Stopped. The cache is empty: the conversation is processed before your next message."


async def test_escape_stops_the_filling_of_the_cache(bench: Bench) -> None:
    """Who opens a long conversation by mistake does not wait; the next message is answered, with all before it."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
    bench.scripts = [Script(hold_open=True, chunk_tok=8)]
    async with bench.app(resume=True).run_test() as pilot:
        line = chat_screen(pilot).query_one(ProgressLine)
        await until(pilot, lambda: "Esc stops" in str(line.render()))
        assert phase(pilot) is Phase.OPENING
        await say(pilot, "And then?")
        await pilot.press("escape")
        await ready(pilot)
        assert len(bench.of(Cancel)) == 1
        assert TOLD in list(notices(pilot))
        assert draft(pilot) == "And then?"
        assert [send.text for send in bench.of(Send)] == ["Hello"]
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.stored()) == 4)
        await ready(pilot)
        assert [row[3] for row in bench.stored()] == ["done"] * 4


async def test_a_cache_that_was_not_filled_is_not_saved(bench: Bench) -> None:
    """To write it down at the end, the engine would have to fill it first."""
    bench.keeps_caches = True
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
    bench.scripts = [Script(hold_open=True, chunk_tok=8)]
    async with bench.app(resume=True).run_test() as pilot:
        await until(pilot, lambda: phase(pilot) is Phase.OPENING)
        bench.posted.clear()
        await pilot.press("escape")
        await ready(pilot)
        await pilot.press("ctrl+q")
    assert bench.of(Save) == []


REFUSED = Failed(at_s=0, kind="engine", what="llama.cpp could not process 32 tokens (status 2).", todo="See the log.")


async def test_a_conversation_that_was_refused_is_opened_for_the_next_message(bench: Bench) -> None:
    """The draft is not foreseen meanwhile, which the engine would refuse at every pause."""
    bench.scripts = [Script(open_failures=(REFUSED,))]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        assert list(notices(pilot)) == ["llama.cpp could not process 32 tokens (status 2). See the log."]
        chat_screen(pilot).query_one(Prompt).insert("Hello")
        await pilot.pause(0.6)
        assert bench.of(Forecast) == []
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.stored()) == 2)
        await ready(pilot)
        assert bench.stored()[1] == (1, "assistant", "Hello. What shall we talk about?", "done")
        chat_screen(pilot).query_one(Prompt).insert("And then?")
        await until(pilot, lambda: len(bench.of(Forecast)) == 1)


async def test_a_message_to_a_conversation_that_is_still_refused_is_refused(bench: Bench) -> None:
    """And stays, without an answer: it is answered once the conversation can be opened."""
    bench.scripts = [Script(open_failures=(REFUSED, REFUSED))]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: "The conversation is not open. llama.cpp could" in "".join(notices(pilot)))
        await ready(pilot)
        assert [(row[1], row[3]) for row in bench.stored()] == [("user", "done"), ("assistant", "failed")]
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(bench.of(Send)) == 2)
        await ready(pilot)
        assert bench.stored()[1] == (1, "assistant", "Hello. What shall we talk about?", "done")


def foot(pilot: Pilot[None], message: int) -> str:
    """The line under a message."""
    return str(shown(pilot)[message].query_one(".foot", Static).render())


async def test_each_refused_message_says_why_under_itself(bench: Bench) -> None:
    """Not that the engine has ended, which it has not; that is said where it did."""
    whys = [Failed(at_s=0, kind="engine", what=what, todo="See the log.") for what in ("It is cold.", "It is hot.")]
    dying = Script(replies=("one two three",), open_failures=(REFUSED, *whys), die_in_turn=3, die_after=1)
    bench.scripts = [dying, Script()]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        for n, text in enumerate(("first", "second"), 1):
            await say(pilot, text)
            await until(pilot, lambda n=n: len(bench.stored()) == 2 * n and bench.stored()[-1][3] == "failed")
            await ready(pilot)
        await say(pilot, "third")
        await until(pilot, lambda: len(bench.engines) == 2)
        await ready(pilot)
        assert "It is cold. See the log." in foot(pilot, 1)
        assert "It is hot. See the log." in foot(pilot, 3)
        assert foot(pilot, 5) == "The engine ended before the reply was complete. Ctrl+R generates it again."
        assert "engine ended" not in foot(pilot, 1) + foot(pilot, 3)
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        assert foot(pilot, 1) == "The reply failed. Ctrl+R generates another one."


async def test_a_turn_that_is_taken_back_from_a_refused_conversation_is_not_opened_with_it(bench: Bench) -> None:
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        for text in ("first", "second"):
            await say(pilot, text)
            await ready(pilot)
    bench.scripts = [Script(open_failures=(REFUSED,))]
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: draft(pilot) == "second")
        await ready(pilot)
        assert bench.of(Undo) == []
        assert {message.turn for message in bench.of(Open)[-1].messages} == {1}


async def test_an_empty_reply_is_one(bench: Bench) -> None:
    """The model ended it at once: it stays in the conversation, another can be asked for, and it is resumed with it."""
    bench.scripts = [Script(replies=("",))]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: len(bench.stored()) == 2 and bench.stored()[1][3] == "done")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(bench.of(Regenerate)) == 1)
        await ready(pilot)
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        assert [(message.role, message.text) for message in bench.of(Open)[-1].messages] == [
            ("user", "Hello"),
            ("assistant", ""),
        ]


async def test_a_reply_that_was_stopped_before_its_first_token_is_none(bench: Bench) -> None:
    """The engine never had it, and must not be given an empty one in its place."""
    bench.scripts = [UNBEGUN]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await pilot.press("escape")
        await ready(pilot)
    bench.scripts = [Script()]
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        assert [message.role for message in bench.of(Open)[-1].messages] == ["user"]
