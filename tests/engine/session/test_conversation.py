"""One conversation, step by step, on the real starter model in the real engine process."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.protocol.commands import Cancel, Forecast, Load, Open, Regenerate, Send, Undo
from chatapp.protocol.events import (
    Evicted,
    Failed,
    Foreseen,
    Opened,
    Prefilled,
    RolledBack,
    Snapshot,
    Text,
    TurnDone,
    TurnStarted,
    Warned,
)
from chatapp.protocol.values import CacheSettings, EngineSettings, Message, Sampling
from tests.support.engine.process import Engine, Seen, english, evictions, greedy, without_gaps

CTX = 512
LONG = english(2000)
"""Takes seconds: what is posted with it is read before it is done."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine") / "log") as engine:
        yield engine


@pytest.fixture
def engine(process: Engine, starter: Path) -> Engine:
    """The starter model with a window of 512 and a new conversation."""
    process.load(starter, CacheSettings(n_ctx=CTX))
    process.open(system="Be brief.")
    return process


def runs(step: Seen) -> list[tuple[int, str, str, int, int]]:
    return [(run.turn, run.role, run.kind, run.pos, run.n) for run in step.snapshot.runs]


# --------------------------------------------------------------------------- longer than the window


def test_a_paste_of_many_windows_streams_through(engine: Engine) -> None:
    """Never refused, never cut in silence: each token is processed once, and what has passed is told."""
    step = engine.send(1, english(2700), greedy(4))
    stats = step.done.stats
    assert stats.prompt_tokens > 3000
    assert stats.processed_tokens == stats.prompt_tokens
    assert step.done.stop_reason in ("length", "end")
    assert [event.done for event in step.all(Prefilled)][-1] == stats.prompt_tokens
    left = step_evictions(step)
    assert {event.partial_turn for event in left} == {1}
    assert [event.turns for event in left] == [[]] * len(left)
    snapshot = step.snapshot
    assert without_gaps(snapshot)
    assert stats.evicted_tokens == sum(event.tokens for event in left) == snapshot.evicted_tokens
    assert snapshot.n_used == stats.prompt_tokens + stats.reply_tokens - stats.evicted_tokens
    (ghost,) = snapshot.ghosts
    assert (ghost.turn, ghost.tokens, ghost.whole) == (1, snapshot.evicted_tokens, False)
    user = next(run for run in snapshot.runs if (run.turn, run.role) == (1, "user"))
    assert user.lost == snapshot.evicted_tokens
    assert user.pos == snapshot.n_sink
    # The next turn pushes the rest of the paste out, and costs no more than itself.
    after = engine.send(2, english(280, 4000), greedy(4))
    assert after.done.stats.processed_tokens == after.done.stats.prompt_tokens
    assert after.done.stats.reused_tokens == snapshot.n_used


def step_evictions(step: Seen) -> list[Evicted]:
    return evictions([step])


def test_a_reply_longer_than_the_window_runs_on(process: Engine, starter: Path) -> None:
    """It evicts its own beginning, again and again, and the model does not lose count."""
    process.load(starter, CacheSettings(n_ctx=256))
    process.open()
    step = process.send(1, "Write the numbers from 1 to 500, one a line.", greedy(300))
    assert step.done.stop_reason == "length"
    assert step.done.stats.reply_tokens == 300
    left = step_evictions(step)
    assert len(left) >= 3
    assert {event.partial_turn for event in left} == {1}
    assert all(without_gaps(snapshot) for snapshot in step.all(Snapshot))
    numbers = [int(number) for number in re.findall(r"\d+", step.text)][:-1]  # the last may be cut short
    assert len(numbers) > 60
    assert numbers == list(range(1, len(numbers) + 1))
    # The markup that opens the message and the reply stays with the newest tokens.
    kept = [(run.role, run.lost > 0) for run in step.snapshot.runs if run.turn == 1]
    assert kept == [("user", True), ("assistant", True)]


def test_dense_says_that_the_window_is_full(process: Engine, starter: Path) -> None:
    """It stops where nothing may leave: in the reply, which stays, or in the prompt, which leaves no trace."""
    process.load(starter, CacheSettings(n_ctx=CTX, policy="dense"))
    process.open()
    first = process.send(1, english(270), greedy(400))
    assert first.done.stop_reason == "window_full"
    assert first.snapshot.n_used == CTX
    assert first.done.stats.reply_tokens > 0
    assert "the window of 512 tokens is full" in first.one(Warned).text
    before = first.snapshot
    second = process.send(2, english(50), greedy(4))
    assert (second.done.stop_reason, second.text) == ("window_full", "")
    assert second.done.stats.evicted_tokens == 0
    assert second.snapshot.runs == before.runs
    # Once the last turn is taken back there is room again.
    process.undo(1)
    third = process.send(1, "Hello.", greedy(4))
    assert third.done.stop_reason in ("length", "end")


def test_window_lets_the_sinks_go(process: Engine, starter: Path) -> None:
    """StreamingLLM's baseline, for comparison: it runs on, and nothing is kept."""
    process.load(starter, CacheSettings(n_ctx=CTX, policy="window"))
    process.open(system="Be brief.")
    steps = [process.send(turn, english(180, 200 * turn), greedy(4)) for turn in (1, 2, 3)]
    assert all(step.done.stop_reason in ("length", "end") for step in steps)
    assert all(without_gaps(snapshot) for step in steps for snapshot in step.all(Snapshot))
    assert steps[-1].snapshot.n_sink == 0
    assert 0 not in {run.turn for run in steps[-1].snapshot.runs}
    assert evictions(steps)[0].removed[0][0] == 0


def test_a_forecast_tells_what_will_leave(engine: Engine) -> None:
    """What is foreseen for a draft is what happens when it is sent."""
    for turn in (1, 2):
        engine.send(turn, english(120, 150 * turn), greedy(4))
    draft = english(230, 700)
    engine.post(Forecast(id=7, text="Short."), Forecast(id=8, text=draft))
    short, long = engine.until(Foreseen, n=2).all(Foreseen)
    assert (short.id, short.leaving, short.partly) == (7, [], False)
    assert long.id == 8
    assert long.leaving
    step = engine.send(3, draft, greedy(1))
    assert step.started.prompt_tokens == long.tokens
    left = step_evictions(step)
    assert left[0].turns == long.leaving[: len(left[0].turns)]


# --------------------------------------------------------------------------- rolling back


def test_undo_leaves_what_was_there_before(engine: Engine) -> None:
    first = engine.send(1, "What is the sea?", greedy(8))
    second = engine.send(2, "And the sky?", greedy(8))
    back = engine.undo(2)
    assert (back.rebuilt, back.processed_tokens) == (False, 0)
    again = engine.send(2, "And the sky?", greedy(8))
    assert runs(again) == runs(second)
    assert again.text == second.text
    # The markup that closes turn 1's reply stays where it is, so that turn 2 need not write it again.
    assert again.done.stats.reused_tokens >= first.snapshot.n_used
    assert again.done.stats.processed_tokens == again.done.stats.prompt_tokens
    engine.undo(2)
    engine.undo(1)
    engine.post(Undo(turn=1))
    failed = engine.until(Failed).one(Failed)
    assert (failed.kind, failed.what) == ("user", "Turn 1 is not the last one the model answered (that is none).")


@pytest.mark.parametrize("sinks", [4, 19, 48, 200])
def test_regenerate_makes_another_reply_to_the_same_prompt(process: Engine, starter: Path, sinks: int) -> None:
    """Also where the sinks end within the reply's markup (19), within the reply, or after it."""
    process.load(starter, CacheSettings(n_ctx=CTX, sinks=sinks))
    process.open(system="Be brief.")
    sampling = Sampling(seed=5, temperature=1.0, max_tokens=12)
    first = process.send(1, "Name a colour.", sampling)
    second = process.regenerate(1, sampling)
    third = process.regenerate(1, sampling)
    assert len({first.text, second.text, third.text}) == 3
    assert [step.done.seed for step in (first, second, third)] == [5, 6, 7]
    for step in (second, third):
        assert step.done.stats.processed_tokens == step.done.stats.prompt_tokens == 1
        assert step.done.stats.reused_tokens == first.done.stats.prompt_tokens - 1
        prompt = sum(n for _, role, _, _, n in runs(step) if role != "assistant")
        assert prompt == sum(n for _, role, _, _, n in runs(first) if role != "assistant")
        assert step.snapshot.n_used == first.done.stats.prompt_tokens + step.done.stats.reply_tokens
    # Greedy replies do not depend on the seed: the prompt's last token was processed again as it was.
    fourth = process.regenerate(1, greedy(12))
    process.open(system="Be brief.")
    assert process.send(1, "Name a colour.", greedy(12)).text == fourth.text


def test_a_reply_whose_beginning_left_cannot_be_made_again(process: Engine, starter: Path) -> None:
    process.load(starter, CacheSettings(n_ctx=256, sinks=4, policy="window"))
    process.open()
    process.send(1, "Hello.", greedy(2))
    process.post(Send(turn=2, text=english(400), sampling=greedy(2)))
    process.until(TurnDone)
    process.undo(2)
    process.post(Regenerate(turn=1, sampling=greedy(2)))
    assert "was evicted" in process.until(Failed).one(Failed).what


# --------------------------------------------------------------------------- stopping


def test_stop_ends_a_reply(engine: Engine) -> None:
    """What was said stays, in the conversation and in the cache. (Within a token: see test_session.py.)"""
    engine.post(Send(turn=1, text="Tell me a long story.", sampling=Sampling(seed=1, max_tokens=400)))
    first = engine.until(Text)
    engine.post(Cancel())
    rest = engine.until(TurnDone)
    assert rest.done.stop_reason == "cancelled"
    reply_tokens = sum(text.tokens for text in [*first.all(Text), *rest.all(Text)])
    assert rest.done.stats.reply_tokens == reply_tokens < 400
    step = engine.send(2, "Go on.", greedy(4))
    assert step.done.stats.reused_tokens == rest.snapshot.n_used
    assert 1 in {run.turn for run in step.snapshot.runs}


def test_stop_in_the_middle_of_a_prompt_leaves_no_trace(engine: Engine) -> None:
    """The conversation and the cache are as if the message had not been sent; what it evicted is gone, and told."""
    before = engine.send(1, "What is the sea?", greedy(8))
    engine.post(Send(turn=2, text=english(2000), sampling=greedy(8)))
    engine.until(Prefilled)
    engine.post(Cancel())
    step = engine.until(TurnDone)
    assert (step.done.stop_reason, step.text, step.done.stats.reply_tokens) == ("cancelled", "", 0)
    assert 0 < step.done.stats.processed_tokens < 1000
    assert {run.turn for run in step.snapshot.runs} <= {0, 1}
    again = engine.send(2, "And the sky?", greedy(8))
    assert again.done.stop_reason in ("length", "end")
    if 1 in {run.turn for run in step.snapshot.runs}:  # turn 1 was short enough to stay
        assert again.done.stats.reused_tokens >= before.snapshot.n_used


def test_stop_in_the_middle_of_the_system_prompt_leaves_no_trace(process: Engine, starter: Path) -> None:
    """A system prompt that is in the cache in part must not be taken for whole by the next message."""
    process.load(starter, CacheSettings(n_ctx=768, micro_batch=32))
    system = english(250)
    process.open(system=system)
    whole = process.send(1, "Hello.", greedy(4))
    process.open(system=system)
    process.post(Send(turn=1, text="Hello.", sampling=greedy(4)))
    process.until(Prefilled)
    process.post(Cancel())
    assert process.until(TurnDone).done.stop_reason == "cancelled"
    again = process.send(1, "Hello.", greedy(4))
    assert runs(again) == runs(whole)
    assert again.text == whole.text


def test_stop_before_the_start_and_only_what_was_asked_before(engine: Engine) -> None:
    """Cancel stops what is queued and what runs; what is asked after it runs."""
    engine.post(
        Send(turn=1, text=LONG, sampling=greedy(4)),
        Send(turn=1, text="One.", sampling=greedy(4)),
        Cancel(),
        Send(turn=1, text="Two.", sampling=greedy(4)),
    )
    seen = engine.until(TurnDone, n=3)
    running, waiting, later = seen.all(TurnDone)
    assert (running.stop_reason, running.stats.reply_tokens) == ("cancelled", 0)
    assert (waiting.stop_reason, waiting.stats.processed_tokens, waiting.stats.reply_tokens) == ("cancelled", 0, 0)
    assert later.stop_reason in ("length", "end")
    assert [event.turn for event in seen.all(TurnStarted)] == [1, 1, 1]


def test_a_load_can_be_stopped(engine: Engine, starter: Path) -> None:
    """It is the person's doing, not a broken model."""
    again = Load(path=str(starter), cache=CacheSettings(n_ctx=CTX), engine=EngineSettings())
    engine.post(Send(turn=1, text=LONG, sampling=greedy(4)), again, Cancel())
    failed = engine.until(Failed).one(Failed)
    assert (failed.kind, failed.what) == ("user", "Stopped.")


# --------------------------------------------------------------------------- opening


def story(n_turns: int, n_words: int) -> list[Message]:
    """A stored conversation."""
    return [
        message
        for turn in range(1, n_turns + 1)
        for message in (
            Message(turn=turn, role="user", text=english(n_words, 40 * turn)),
            Message(turn=turn, role="assistant", text=f"That was part {turn}."),
        )
    ]


def test_an_old_conversation_opens_with_its_sinks_and_latest_turns(engine: Engine) -> None:
    """And is the same cache as the one that was lost."""
    opened = engine.open(story(20, 60), system="Be brief.")
    assert opened.in_window_turns + opened.evicted_turns == 20
    assert 2 <= opened.in_window_turns < 8
    assert opened.processed_tokens < CTX
    step = engine.send(21, "What was the last part?", greedy(8))
    turns = sorted({run.turn for run in step.snapshot.runs})
    assert turns == [0, *range(22 - len(turns) + 1, 22)]
    assert step.snapshot.evicted_turns == 21 - (len(turns) - 1)
    assert step.done.stats.reused_tokens == opened.processed_tokens
    assert step.done.stats.processed_tokens == step.done.stats.prompt_tokens


def test_an_opened_conversation_goes_on_as_if_it_had_never_been_closed(engine: Engine) -> None:
    """The tokens made from the stored text are those that were there: the same reply follows."""
    replies = [engine.send(1, "What is the sea?", greedy(10)), engine.send(2, "And the sky?", greedy(10))]
    alive = engine.send(3, "Thank you.", greedy(10))
    stored = [
        message
        for turn, said in ((1, "What is the sea?"), (2, "And the sky?"))
        for message in (
            Message(turn=turn, role="user", text=said),
            Message(turn=turn, role="assistant", text=replies[turn - 1].text),
        )
    ]
    opened = engine.open(stored, system="Be brief.")
    assert opened.evicted_turns == 0
    resumed = engine.send(3, "Thank you.", greedy(10))
    assert (resumed.text, runs(resumed)) == (alive.text, runs(alive))


def test_opening_can_be_stopped(engine: Engine) -> None:
    engine.post(Send(turn=1, text=LONG, sampling=greedy(4)), Open(system="Be brief.", messages=story(20, 60)), Cancel())
    stopped = engine.until(Failed)
    failed = stopped.one(Failed)
    assert (failed.kind, failed.what) == ("user", "Stopped.")
    assert "before your next message" in failed.todo
    assert stopped.snapshot.n_used == 0  # what a person sees is what there is
    step = engine.send(21, "Hello.", greedy(4))
    opened = step.one(Opened)  # half a conversation must not be taken for a whole one: it is opened first
    assert opened.in_window_turns + opened.evicted_turns == 20
    assert step.started.reused_tokens == opened.processed_tokens > 0


def test_a_system_prompt_that_leaves_no_room_is_refused(engine: Engine) -> None:
    engine.post(Open(system=english(600), messages=[]))
    failed = engine.until(Failed).one(Failed)
    assert failed.kind == "user"
    assert failed.what.startswith("The system prompt and the sinks take ")


def test_rolled_back_turns_are_no_evictions(engine: Engine) -> None:
    """The count of what was lost is the truth that a person sees."""
    engine.send(1, "Hello.", greedy(4))
    engine.post(Undo(turn=1))
    engine.until(RolledBack)
    snapshot = engine.until(Snapshot).snapshot
    assert (snapshot.evicted_tokens, snapshot.evicted_turns, snapshot.ghosts) == (0, 0, [])
