"""What was said up to a place in a trace, held against the course of a real chat."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.presentation.transcript_at import RecordedMessage, RecordedNotice, TranscriptAt
from chatapp.protocol.commands import Command, Pin, Regenerate, Undo
from chatapp.protocol.events import Evicted, Replied
from chatapp.protocol.values import Message, Sampling
from chatapp.replay.index import Index
from chatapp.replay.lines import OWN, Posted, Trace, decode, encode
from tests.support.fake_engine.script import Script
from tests.support.traces import record, send, sends


def said(story: TranscriptAt) -> list[tuple[int, str, str]]:
    """The messages."""
    return [(item.turn, item.role, item.text) for item in story.items if isinstance(item, RecordedMessage)]


def end(path: Path) -> TranscriptAt:
    """The story at its end."""
    with Index(path) as index:
        story = TranscriptAt(index)
        story.go_to(len(index))
    return story


def test_undo_and_another_reply_are_followed(tmp_path: Path) -> None:
    """What was taken back must not stand there as if it were still said."""
    again = Regenerate(turn=1, sampling=Sampling())
    commands: list[Command] = [send(1, "one"), send(2, "two"), Undo(turn=2), again]
    record(tmp_path / "t", [*commands, send(2, "three")], Script(replies=("A b c.", "D e.")))
    assert said(end(tmp_path / "t")) == [
        (1, "user", "one"),
        (1, "assistant", "A b c."),
        (2, "user", "three"),
        (2, "assistant", "D e."),
    ]


def test_a_resumed_conversation_is_there_from_the_start(tmp_path: Path) -> None:
    """Its messages came with Open, and a pin with them."""
    messages = [Message(turn=1, role="user", text="before"), Message(turn=1, role="assistant", text="yes")]
    record(tmp_path / "t", [Pin(turn=1, pinned=True), send(2, "now")], messages=messages)
    story = end(tmp_path / "t")
    assert said(story)[:3] == [(1, "user", "before"), (1, "assistant", "yes"), (2, "user", "now")]
    first = story.items[0]
    assert isinstance(first, RecordedMessage)
    assert first.pinned


def test_in_a_trace_of_events_alone_the_words_of_the_person_are_not_known(tmp_path: Path) -> None:
    """They are not made up, and the replies are still there in their turns."""
    whole, bare = tmp_path / "whole", tmp_path / "bare"
    record(whole, sends(3), Script(replies=("One two.",)))
    lines = whole.read_bytes().splitlines(keepends=True)
    bare.write_bytes(b"".join(line for line in lines if not isinstance(decode(line), OWN)))
    story = end(bare)
    assert said(story) == [(turn, *rest) for turn in (1, 2, 3) for rest in (("user", ""), ("assistant", "One two."))]
    assert [item.known for item in story.items if isinstance(item, RecordedMessage) and item.role == "user"] == [
        False
    ] * 3


def test_words_whose_beginning_is_not_in_the_trace_are_shown(tmp_path: Path) -> None:
    """Somebody kept the last thousand lines of a trace."""
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    record(whole, sends(1), Script(replies=("One two three four.",)))
    lines = whole.read_bytes().splitlines(keepends=True)
    texts = [number for number, line in enumerate(lines) if b'"Text"' in line]
    rest.write_bytes(b"".join(lines[texts[1] : texts[-1] + 1]))
    story = end(rest)
    assert "One two three four.".endswith("".join(text for _, _, text in said(story)))
    assert len(said(story)) == 1


def test_the_evictions_of_one_turn_are_one_note(tmp_path: Path) -> None:
    """A long paste causes hundreds of them."""
    record(tmp_path / "t", [send(1, "a b c"), send(2, "word " * 900)], Script(n_ctx=256))
    story = end(tmp_path / "t")
    with Index(tmp_path / "t") as index:
        left = [event for entry in index.of_kind("Evicted") if isinstance(event := index.entry(entry), Evicted)]
    assert len(left) > 1
    (noted,) = (item for item in story.items if isinstance(item, RecordedNotice) and " evicted: " in item.notice.text)
    assert noted.notice.text.endswith(f": {sum(event.tokens for event in left):,} tokens.")


def test_replies_to_many_prompts_stand_below_their_prompts(tmp_path: Path) -> None:
    """`ask --each` has no turns, and ends its replies in any order."""
    from chatapp.protocol.commands import Several

    at_s = 1.0
    several = Several(system=None, prompts=["first", "second"], sampling=Sampling())
    replied = [
        Replied(
            at_s=at_s,
            number=number,
            text=text,
            prompt_tokens=1,
            reply_tokens=1,
            evicted_tokens=0,
            stop_reason="end",
            ms=1.0,
        )
        for number, text in ((1, "to second"), (0, "to first"))
    ]
    lines = [Trace(at_s=at_s, format=1, swachat="0"), Posted(at_s=at_s, command=several), *replied]
    (tmp_path / "t").write_bytes(b"".join(map(encode, lines)))
    assert said(end(tmp_path / "t")) == [
        (2, "user", "second"),
        (2, "assistant", "to second"),
        (1, "user", "first"),
        (1, "assistant", "to first"),
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_the_way_to_a_place_does_not_matter(tmp_path: Path, shares: list[float]) -> None:
    """Scrubbing to and fro ends where playing from the start does: nothing is left over, nothing is told twice."""
    path = tmp_path / "trace"
    if not path.exists():
        commands: list[Command] = [*sends(3, 30), Undo(turn=3), send(3, "again " * 80), Pin(turn=2, pinned=True)]
        record(path, [*commands, send(4, "end")], Script(n_ctx=256, replies=("A few words here.", "Fewer.")))
    with Index(path) as index:
        story = TranscriptAt(index)
        for share in shares:
            story.go_to(round(share * len(index)))
        fresh = TranscriptAt(index)
        fresh.go_to(story.position)
        assert [vars(item) for item in story.items] == [vars(item) for item in fresh.items]
