"""What is in the window, in the hands of a person: pinned, recalled, edited."""

import re

from tests.e2e.reading import BRIEF, costs, figures, ready, reply, say, says, stored
from tests.e2e.terminal import Home, Terminal

FILLER = " ".join(f"Line {number} of a text." for number in range(36))
"""Half of the window, typed."""


def test_a_pin_holds_a_recall_brings_back_and_an_edit_begins_a_branch(home: Home) -> None:
    """On the real model: the pinned turn outlives those after it, and every branch can be gone back to."""
    with Terminal(home, *BRIEF) as terminal:
        terminal.wait_for(ready)
        say(terminal, "My name is Ada.", 1)
        terminal.type("/pin\r")
        terminal.wait_for(says(r"Turn 1 is pinned: \d+ tokens\."), says(r"Model  1\W+pinned"))
        say(terminal, "Tell me about lighthouses.", 2)
        for turn in (3, 4):
            say(terminal, FILLER, turn)
        screen = terminal.wait_for(says(r"Turn 2 and the oldest part of turn 3 were evicted"))
        assert figures(screen).gone_turns >= 1

        terminal.type("/recall 2\r")
        terminal.wait_for(says(r"Turn 2 is back in the window: \d+ tokens"), ready)
        say(terminal, "Who am I?", 5)

        terminal.type("/edit\r")
        terminal.wait_for("Editing turn 5", "│ Who am I?")
        terminal.type(" Tell me.\r")
        terminal.wait_for(says(r"You  5\W+‹2/2›\W+Who am I\? Tell me\."))
        reply(terminal, 5)
        assert costs(home)[-1]["processed_tokens"] < 40, "what the branches share is in the cache"

        terminal.type("/alternative previous\r")
        terminal.wait_for(says(r"You  5\W+‹1/2›\W+Who am I\?\s"), ready)
        assert [message.text for message in stored(home)][6:9:2] == [FILLER, "Who am I?"]
        say(terminal, "Thank you.", 6)
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0

    with Terminal(home, *BRIEF, "--resume") as terminal:
        terminal.wait_for(says(r"Thank you\."), ready)
        terminal.type("/unpin 1\r")
        terminal.wait_for(says(r"Turn 1 is no longer pinned"))
        assert re.search(r"│ Write a message", terminal.text)
