"""However something ends (the engine, the program, the terminal), nothing said is lost and nothing is left behind."""

import signal
import time

import psutil

from chatapp.paths import saved_caches_dir
from tests.e2e.reading import AT_LENGTH, BRIEF, STORY, begun, chat, ready, reply, say, says, stored, tells, unsent
from tests.e2e.terminal import Home, Terminal, eventually, without
from tests.e2e.wire import modes


def test_an_engine_that_is_killed_in_the_middle_of_a_reply(home: Home) -> None:
    """The interface stays, says what happened, starts another engine and goes on with the conversation."""
    with Terminal(home, *AT_LENGTH) as terminal:
        terminal.wait_for(ready)
        terminal.type(f"{STORY}\r")
        terminal.wait_for(begun(1))
        first = terminal.engine()
        first.suspend()
        eventually(lambda: len(stored(home)) == 2 and stored(home)[1].text != "")
        first.kill()
        terminal.wait_for(
            says(r"The engine process was ended by signal SIGKILL.*Nothing you\s+said\s+was\s+lost.*Restarting\s+it"),
            begun(1),
        )
        screen = terminal.wait_for(ready, says(r"1 turn of this conversation is in the cache again"))
        assert terminal.engine() != first
        partial = stored(home)[1]
        assert partial.state == "failed"
        assert " ".join(partial.text.split()[:4]) in " ".join(chat(screen).split())

        # Another death before a reply has ended well: no circle of restarts.
        terminal.engine().kill()
        terminal.wait_for("F5 restarts it", " no engine ")
        terminal.type("Say hello.\r")
        terminal.wait_for("queued  Say hello.")
        terminal.press("f5")
        reply(terminal, 2)
        assert [message.text for message in stored(home)[:3]] == [STORY, partial.text, "Say hello."]


def test_quitting_leaves_the_terminal_as_it_was_and_no_engine(home: Home) -> None:
    """In the middle of a reply, and between two; what the cache held comes back from disk the next time."""
    with Terminal(home, *AT_LENGTH) as terminal:
        terminal.wait_for(ready)
        assert 1049 in modes(terminal.raw)
        assert 25 not in modes(terminal.raw)
        terminal.type(f"{STORY}\r")
        terminal.wait_for(begun(1))
        engine = terminal.engine()
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0
        assert not engine.is_running()
        assert modes(terminal.raw) == {7, 25}, "all modes are as before: the first screen, the cursor, no mouse"
    said = stored(home)
    assert [message.state for message in said] == ["done", "stopped"]

    for _ in range(2):
        with Terminal(home, *AT_LENGTH, "--resume") as terminal:
            again = says(r"You  1\W+Write a novel.*Model  1.*stopped")
            terminal.wait_for(again, tells("tokens restored from disk"), ready)
            terminal.press("ctrl+q")
            assert terminal.exit_code() == 0
    assert stored(home) == said


def test_a_killed_program_leaves_no_engine_and_its_conversation_goes_on(home: Home) -> None:
    """kill -9 of the interface in the middle of a reply: the engine ends by itself, and --resume has what was said.

    What was queued and typed is in the prompt again.
    """
    with Terminal(home, *AT_LENGTH) as terminal:
        terminal.wait_for(ready)
        terminal.type(f"{STORY}\r")
        terminal.wait_for(begun(1))
        engine = terminal.engine()
        engine.suspend()  # a fast machine could reach the end of the reply
        eventually(lambda: len(stored(home)) == 2 and stored(home)[1].text != "")
        terminal.type("How does it end?\r")
        terminal.wait_for("queued  How does it end?")
        terminal.type("And then")
        eventually(lambda: unsent(home) == "How does it end?\nAnd then")
        terminal.kill()
        assert terminal.exit_code() == -signal.SIGKILL
        engine.resume()
        assert psutil.wait_procs([engine], 10)[1] == [], "the engine should end when its pipe closes"
    said = stored(home)
    assert [message.state for message in said] == ["done", "stopped"]

    with Terminal(home, *BRIEF, "--resume") as terminal:
        again = says(r"Model  1\W+\w+.*stopped.*1 turn of this conversation is in the cache again")
        terminal.wait_for(again, says(r"How does it end\?\W+And then"), ready)
        assert len(stored(home)) == 2, "what was queued is not sent unasked"
        say(terminal, ", go on.", 2)
        assert stored(home)[2].text == "How does it end?\nAnd then, go on."
        eventually(lambda: unsent(home) == "")
        assert [message.text for message in stored(home)[:2]] == [message.text for message in said]


def test_signals_end_a_chat_as_its_key_does(home: Home) -> None:
    """In the middle of a reply: the words, the layout and the cache are written, the terminal is as it was before."""
    layout = home.folder / ".local/state/swachat/layout.json"
    for conversation, number in enumerate((signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT), 1):
        cache = saved_caches_dir() / f"{conversation}.kv"
        cache.unlink(missing_ok=True)
        with Terminal(home, *AT_LENGTH) as terminal:
            terminal.wait_for(ready)
            terminal.type(f"{STORY}\r")
            terminal.wait_for(begun(1))
            before = layout.read_text() if layout.exists() else ""
            terminal.press("f2")
            terminal.wait_for(without("▾ Window") if conversation % 2 else "▾ Window")
            engine = terminal.engine()
            terminal.process.send_signal(number)
            terminal.process.send_signal(signal.SIGCONT)  # as `timeout`, shells and the kernel do
            assert terminal.exit_code() == 128 + number
            assert not engine.is_running()
            assert modes(terminal.raw) == {7, 25}
            assert terminal.echo
        assert [message.state for message in stored(home)] == ["done", "stopped"]
        assert cache.exists()
        assert layout.read_text() != before


def test_a_second_signal_does_not_wait(home: Home) -> None:
    """Not for an engine that does not answer; the terminal is as it was before all the same."""
    with Terminal(home, *AT_LENGTH) as terminal:
        terminal.wait_for(ready)
        terminal.type(f"{STORY}\r")
        terminal.wait_for(begun(1))
        engine = terminal.engine()
        engine.suspend()
        terminal.process.send_signal(signal.SIGTERM)
        terminal.wait_for(" stopping ")
        time.sleep(0.2)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.exit_code(within_s=1.5) == 128 + signal.SIGTERM, "the first alone takes two seconds"
        assert modes(terminal.raw) == {7, 25}
        assert terminal.echo
        engine.resume()
    assert [message.state for message in stored(home)] == ["done", "stopped"]


def test_a_signal_before_there_is_anything_to_see(home: Home) -> None:
    """The terminal has been switched, and nothing is drawn yet."""
    with Terminal(home, *BRIEF) as terminal:
        eventually(lambda: 1049 in modes(terminal.raw))
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.exit_code() == 128 + signal.SIGTERM
        assert modes(terminal.raw) == {7, 25}
        assert terminal.echo


def test_a_terminal_that_is_closed_ends_everything(home: Home) -> None:
    """The window is closed, or the connection lost: the program gets a hangup."""
    with Terminal(home, *BRIEF) as terminal:
        terminal.wait_for(ready)
        reply_before = say(terminal, "Hello", 1)
        assert ready(reply_before)
        engine = terminal.engine()
        terminal.hang_up()
        assert terminal.exit_code() == 128 + signal.SIGHUP
        assert psutil.wait_procs([engine], 10)[1] == []
    assert [message.state for message in stored(home)] == ["done", "done"]


def test_a_program_that_ignores_hangups_ends_with_its_terminal(home: Home) -> None:
    """As `nohup` and `trap '' HUP` make it: the signal means nothing, but without a terminal there is nothing to do."""
    with Terminal(home, *AT_LENGTH, nohup=True) as terminal:
        terminal.wait_for(ready)
        terminal.process.send_signal(signal.SIGHUP)
        terminal.type(f"{STORY}\r")
        terminal.wait_for(begun(1))
        engine = terminal.engine()
        terminal.hang_up()
        assert terminal.exit_code(within_s=2) == 128 + signal.SIGHUP
        assert psutil.wait_procs([engine], 10)[1] == []
    assert [message.state for message in stored(home)] == ["done", "stopped"]
    with Terminal(home, *AT_LENGTH, "--resume") as terminal:
        terminal.wait_for(ready, tells("tokens restored from disk"))
