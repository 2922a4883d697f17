"""Copied is what was copied: by which way, and what is said of each."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from chatapp.protocol.commands import Cancel
from chatapp.ui.clipboard import TERMINAL, Copied, Way, copy, ways, words
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, chat_screen, phase, ready, say, shown, until


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [Script(replies=("one two three four five six " * 20,), hold_after=20), Script()])


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", ["terminal"]),
        ({"DISPLAY": ":0"}, "linux", ["xclip", "xsel", "terminal"]),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "linux", ["wl-copy", "xclip", "xsel", "terminal"]),
        ({}, "darwin", ["pbcopy", "terminal"]),
        ({"SSH_CONNECTION": "1 2 3 4"}, "darwin", ["terminal"]),
        ({"SSH_TTY": "/dev/pts/1", "DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "linux", ["terminal"]),
        ({"SSH_TTY": "/dev/pts/1", "DISPLAY": "localhost:10.0"}, "linux", ["xclip", "xsel", "terminal"]),
        ({"TMUX": "/tmp/tmux-0/default,1,0"}, "linux", ["tmux", "tmux", "terminal"]),
        ({"TMUX": "/tmp/tmux-0/default,1,0", "DISPLAY": ":0"}, "linux", ["xclip", "xsel", "tmux", "tmux", "terminal"]),
        ({"STY": "1.pts-0"}, "linux", []),
        ({"STY": "1.pts-0", "DISPLAY": ":0"}, "linux", ["xclip", "xsel"]),
    ],
)
def test_the_ways_to_try(environment: dict[str, str], platform: str, expected: list[str]) -> None:
    """The clipboard at the person's own end, then tmux, then the terminal; GNU screen drops what it is sent."""
    assert [way.name for way in ways(environment, platform, lambda _: True)] == expected
    without_tools = [name for name in expected if name == TERMINAL]
    assert [way.name for way in ways(environment, platform, lambda _: False)] == without_tools


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools that is all of PATH beside the system's own, on a display."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("TMUX", "STY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr("chatapp.ui.clipboard.sys.platform", "linux")
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    """A tool of that name."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)


def test_the_tool_gets_the_text(tools: Path) -> None:
    """All of it; one that leaves a child behind, as xclip does, is not waited for."""
    tool(tools, "xclip", f'cat > "{tools}/got"; sleep 30 &')
    text = "größer ⟦ \n" * 30_000
    copied = copy(text)
    assert copied.way is not None
    assert copied.way.name == "xclip"
    assert (tools / "got").read_text() == text
    assert words(copied, "the message", len(text)) == "Copied the message to the clipboard (xclip): 300,000 characters."


def test_tools_that_fail_and_hang_are_told_and_the_next_way_is_taken(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is called copied that only went to the terminal."""
    monkeypatch.setattr("chatapp.ui.clipboard.LIMIT_S", 0.3)
    tool(tools, "xclip", 'echo "Error: Can\'t open display: :0" >&2; exit 1')
    tool(tools, "xsel", "exec sleep 30")
    copied = copy("text")
    assert copied.way == Way(TERMINAL)
    told = words(copied, "the message", 4)
    assert told == (
        "Sent the message to the terminal for its clipboard (OSC 52): 4 characters. xclip failed (Error: Can't open "
        "display: :0); xsel did not answer within 0.3 s. If pasting does not give it, allow OSC 52 in the terminal, or "
        "install wl-copy, xclip or xsel."
    )


def test_in_tmux_its_buffer_has_it(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot pass it on is told apart from one that was asked to."""
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    tool(tools, "tmux", f'echo "$@" >> "{tools}/asked"; cat > "{tools}/got"')
    assert "was asked to pass it on" in words(copy("text"), "the message", 4)
    assert (tools / "got").read_text() == "text"
    tool(tools, "tmux", '[ "$2" != -w ] && cat > /dev/null')
    told = words(copy("text"), "the message", 4)
    assert told.startswith("Copied the message to tmux's buffer (prefix ] pastes it): 4 characters.")
    assert "cannot pass it on" in told


def test_where_nothing_takes_it_that_is_said(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv("STY", "1.pts-0")
    assert words(copy("text"), "the message", 4) == (
        "Not copied: nothing here takes the message. GNU screen passes no copies on: select with Shift and the mouse, "
        "or run swachat outside screen."
    )


# ----------------------------------------------------------------------- in the chat


def told(pilot: Pilot[None]) -> str:
    """What the messages that disappear by themselves say."""
    return "\n".join(str(toast.render()) for toast in pilot.app.screen.query("Toast").results(Static))


async def test_ctrl_c_copies_then_stops_then_says_how_to_quit(bench: Bench) -> None:
    """The selection first, wherever it is; a reply that runs is stopped; after that nothing is left to do."""
    async with bench.app().run_test(size=(120, 36), notifications=True) as pilot:
        await ready(pilot)
        await say(pilot, "Go on")
        await until(pilot, lambda: phase(pilot).value == "replying")
        await pilot.press(*"abc", "shift+left", "shift+left", "ctrl+c")
        assert pilot.app.clipboard == "bc"
        await until(pilot, lambda: "Sent the selection to the terminal" in told(pilot))
        assert bench.of(Cancel) == []
        await pilot.press("end")
        reply = shown(pilot)[-1]
        await pilot.mouse_down(reply, offset=(2, 1))
        await pilot.hover(reply, offset=(8, 1))
        await pilot.mouse_up(reply, offset=(8, 1))
        await pilot.press("ctrl+c")
        assert pilot.app.clipboard == chat_screen(pilot).get_selected_text()
        assert bench.of(Cancel) == []
        await pilot.click("#status")
        await pilot.press("ctrl+c")
        await ready(pilot)
        assert len(bench.of(Cancel)) == 1
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "Ctrl+Q quits" in told(pilot))
        assert chat_screen(pilot).chat is not None


async def test_the_notice_says_which_way_was_taken(bench: Bench) -> None:
    """A terminal is sent nothing where the system's clipboard has it."""
    copied: list[str] = []

    def to_system(text: str) -> Copied:
        copied.append(text)
        return Copied(Way("wl-copy", ("wl-copy",)))

    app = bench.app()
    app.services = replace(app.services, copy=to_system)
    async with app.run_test(notifications=True) as pilot:
        await ready(pilot)
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: phase(pilot).value == "replying")
        await pilot.press("escape")
        await ready(pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "Copied the message to the clipboard (wl-copy)" in told(pilot))
        assert copied == [shown(pilot)[-1].said.text]
