"""A conversation as a person has it: the first message, a window that fills, a stop in the middle of a reply."""

import itertools
import re

from tests.e2e.reading import AT_LENGTH, BRIEF, STORY, begun, costs, figures, ready, reply, say, says, stored
from tests.e2e.terminal import Home, Terminal, eventually, without
from tests.e2e.wire import plain


def test_what_is_typed_while_the_model_loads_is_sent_when_it_is_there(home: Home) -> None:
    """A person should be able to begin to write at once, and see the reply come word by word."""
    with Terminal(home, *BRIEF) as terminal:
        terminal.wait_for("Long conversations with a local model.", "Write a message…")
        engine = terminal.engine()
        engine.suspend()  # it stays in the middle of its start for as long as we look
        terminal.type("Say hello")
        terminal.wait_for("│ Say hello ", lambda screen: not ready(screen))
        terminal.press("enter")
        terminal.wait_for("queued  Say hello", "│ Write a message…")
        assert stored(home) == []
        engine.resume()
        screen = reply(terminal, 1)
        assert "queued" not in screen
        assert says(r"You  1\W+Say hello\s")(screen)
        assert says(r"tok/s · TTFT .* · 1?\d tok\w* · cached 0 · new \d\d\b")(screen)

        question, answer = stored(home)
        assert (question.text, answer.state) == ("Say hello", "done")
        assert says(re.escape(answer.text.split()[0]))(screen)
        maps = {mapped.path for mapped in terminal.process.memory_maps()}
        assert not [path for path in maps if "llama" in path or "ggml" in path], "llama.cpp runs in the engine only"
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0


def test_what_is_typed_before_the_first_paint_is_there(home: Home) -> None:
    """Who types on after `swachat` and Enter loses nothing; before there is a program, Enter is a line end."""
    with Terminal(home, *BRIEF) as terminal:
        terminal.type("Say\rhello")
        terminal.wait_for(says(r"│ Say .*│ hello "))
        terminal.wait_for(ready)
        say(terminal, "!", 1)
        assert stored(home)[0].text == "Say\nhello!"


def test_past_the_window_the_oldest_turns_leave_and_every_count_agrees(home: Home) -> None:
    """The window stays within its 512 cells, the oldest turns are seen to leave, and a long paste goes in whole."""
    with Terminal(home, *BRIEF) as terminal:
        terminal.wait_for(ready)
        for turn in (1, 2, 3):
            say(terminal, f"Tell me a little about the number {turn}, please.", turn)
        before = figures(terminal.text)
        assert (before.gone_turns, before.gone_tokens, before.shifts) == (0, 0, 0)
        assert "nothing evicted" in terminal.text

        paste = "\n".join(f"Line {number} of a text that was found somewhere." for number in range(70))
        terminal.paste(f"What is this?\n{paste}")
        marker = "⟦text 1: 71 lines"
        terminal.wait_for(marker)
        terminal.press("enter")
        terminal.wait_for(without(marker), re.compile(r"evicted: \d+ tokens"), re.compile(r"evicted [░▒╱]"))
        screen = reply(terminal, 4)
        assert "▲ Turns 1–3 and the oldest part of turn 4 were evicted" in screen
        assert "the oldest part of turn 4" in screen

        after = figures(screen)
        spent = costs(home)
        assert len(spent) == 4
        assert after.n_ctx == 512
        assert after.gone_turns == 3
        assert after.shifts == sum(cost["shifts"] for cost in spent) > 0
        assert after.gone_tokens == sum(cost["evicted_tokens"] for cost in spent) > 0
        kept = sum(cost["processed_tokens"] + cost["reply_tokens"] - cost["evicted_tokens"] for cost in spent)
        assert after.used == kept <= 512
        assert after.sinks == before.sinks >= 4
        # Only what is new was processed, and all of the paste was.
        for earlier, later in itertools.pairwise(spent):
            assert (
                later["reused_tokens"]
                == earlier["reused_tokens"] + earlier["processed_tokens"] + earlier["reply_tokens"]
            )
        assert spent[-1]["processed_tokens"] == spent[-1]["prompt_tokens"] > 512
        assert stored(home)[6].text == f"What is this?\n{paste}"

        uses = [int(used) for used in re.findall(r" (\d+)/512 tokens", plain(terminal.raw))]
        assert len(set(uses)) > 5  # twice a second, and with every change of what is going on
        assert max(uses) <= 512
        screen = say(terminal, "Thank you.", 5)
        assert figures(screen).used <= 512
        assert costs(home)[-1]["processed_tokens"] < 30


def test_escape_stops_the_reply_and_what_was_queued_comes_back(home: Home) -> None:
    """Stopped in the middle, a reply stays as far as it got; the conversation goes on from there."""
    with Terminal(home, *AT_LENGTH) as terminal:
        terminal.wait_for(ready)
        terminal.type(f"{STORY}\r")  # in one write: Enter once overtook the last words
        terminal.wait_for(begun(1), " replying ")
        assert stored(home)[0].text == STORY
        engine = terminal.engine()
        engine.suspend()
        terminal.type("And then?\r")
        terminal.wait_for("queued  And then?")
        terminal.type("a draft")
        terminal.wait_for("│ a draft ")
        engine.resume()
        terminal.press("escape")
        terminal.wait_for(" · stopped", ready, without("queued"), "│ And then?", "│ a draft")
        question, answer = stored(home)
        assert question.text == STORY
        assert answer.state == "stopped"
        assert answer.stats is not None
        assert answer.stats["stop_reason"] == "cancelled"
        assert answer.stats["reply_tokens"] < 1500
        terminal.wait_for(says(rf"{re.escape(answer.text.split()[-1])}\W+[\d.]+ tok/s"))

        terminal.press("ctrl+u")  # deletes to the beginning of the line
        for _ in range(11):
            terminal.press("backspace")
        terminal.wait_for("│ Write a message…")
        say(terminal, "Say hello.", 2)
        assert [message.state for message in stored(home)] == ["done", "stopped", "done", "done"]


def test_what_is_sent_during_a_reply_waits_for_its_end(home: Home) -> None:
    """Two messages sent during a reply are answered one after the other."""
    with Terminal(home, *BRIEF) as terminal:
        engine = terminal.engine()
        terminal.wait_for(ready)
        engine.suspend()
        for text in ("one", "two", "three"):
            terminal.type(f"{text}\r")
        terminal.wait_for("queued  two", "queued  three")
        assert [message.text for message in stored(home)] == ["one"]
        engine.resume()
        reply(terminal, 3)
        assert [message.text for message in stored(home)[::2]] == ["one", "two", "three"]
        assert all(message.state == "done" for message in stored(home))


def test_a_message_of_several_lines(home: Home) -> None:
    """Each of these keys begins a line; Alt+Enter and Ctrl+J do in a terminal without a keyboard protocol too."""
    with Terminal(home, *BRIEF) as terminal:
        terminal.wait_for("Write a message…")
        terminal.type("first")
        for key, line in (("alt+enter", "second"), ("ctrl+j", "third"), ("shift+enter", "fourth")):
            terminal.press(key)
            terminal.type(line)
        terminal.press("enter")
        eventually(lambda: len(stored(home)) > 0)
        assert stored(home)[0].text == "first\nsecond\nthird\nfourth"
