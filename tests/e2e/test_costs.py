"""What the real program says of cost: the ledger's file adds up to the other figures, and a forecast comes true."""

import json
import re

from chatapp.presentation.format import turns
from tests.e2e.reading import BRIEF, begun, chat, figures, ready, say
from tests.e2e.terminal import Home, Terminal

LONG = "Tell me of whales, of the sea and of the ships that sail on it in winter, and spare no word. " * 4


def test_the_ledger_adds_up_and_a_forecast_comes_true(home: Home) -> None:
    """SmolLM2 in 512 cells: turns leave until the ledger, the window, the savings and the forecast must agree."""
    file = home.folder / "ledger.jsonl"
    with Terminal(home, *BRIEF, columns=150, rows=70) as terminal:
        terminal.wait_for(ready, "▾ Forecast", "▾ Memory")
        for turn in range(1, 5):
            say(terminal, f"{turn}: {LONG}", turn)
        before = figures(terminal.text)
        terminal.paste(LONG * 3)
        leaving = terminal.wait_for(re.compile(r"evicts +turns? ([\d–, ]+\d)"), re.compile(r"takes +[\d.]+ m?s"))
        foreseen = re.search(r"evicts +turns? ([\d–, ]+\d)", leaving)
        assert foreseen is not None
        terminal.press("enter")
        terminal.wait_for(begun(5))
        terminal.wait_for(ready, re.compile(r"template +[\d.]+ m?s +prefill +[\d.]+ m?s"))

        terminal.type(f"/ledger export {file}")
        terminal.press("enter")
        screen = terminal.wait_for("of the ledger log to")
        after = figures(screen)
        assert after.gone_tokens > before.gone_tokens

        entries = [json.loads(line) for line in file.read_text().splitlines()]
        of = {
            kind: [entry for entry in entries if entry["kind"] == kind]
            for kind in ("evict", "shift", "prefill", "reply")
        }
        left = [turn for entry in of["evict"] for turn in entry["turns"]]
        assert turns(turn for turn in left if turn > before.gone_turns) == foreseen[1]
        assert -sum(entry["tokens"] for entry in of["evict"]) == after.gone_tokens
        assert len(of["shift"]) == after.shifts
        assert all(entry["ms"] > 0 for entry in of["shift"])
        assert len(of["prefill"]) == len(of["reply"]) == 5
        saved = re.search(r"full cache for ([\d,]+) tokens", " ".join(inspector(screen)))
        assert saved is not None
        assert int(saved[1].replace(",", "")) == after.used + after.gone_tokens


def inspector(screen: str) -> list[str]:
    """The words at the right of the chat."""
    left = chat(screen).splitlines()
    right = (line[len(part) :].replace("▏", " ") for line, part in zip(screen.splitlines(), left, strict=True))
    return [word for line in right for word in line.split()]
