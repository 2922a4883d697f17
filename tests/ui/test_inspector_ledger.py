"""The ledger's history as lines of text."""

from chatapp.engine.protocol import (
    Branched,
    Evicted,
    Opened,
    Pinned,
    Prefilled,
    Recalled,
    Released,
    RolledBack,
    Text,
    TurnDone,
    TurnStarted,
    Warned,
)
from chatapp.ui.widgets.ledger_book import LIMIT, LedgerBook
from tests.ui.inspector_events import NOON_S, done, story


def prefilled(done_tokens: int, total: int) -> Prefilled:
    """A piece of turn 7's prompt went through."""
    return Prefilled(at_s=NOON_S, turn=7, done=done_tokens, total=total, ms=done_tokens / 2)


def evicted(turns: list[int], partial_turn: int | None = None) -> Evicted:
    """Turns left."""
    return Evicted(
        at_s=NOON_S,
        turn=9,
        policy="sinks",
        tokens=212,
        turns=turns,
        partial_turn=partial_turn,
        removed=[(31, 243)],
        renumbered=True,
        ms=0.4,
        next_decode_ms=31.0,
        why="the window is full",
    )


def test_a_story_of_two_turns() -> None:
    """Only the last piece of the prompt has a line; what was not timed (turn 8 never started here) is a dash."""
    book = LedgerBook()
    for event in story():
        book.apply(event)
    assert book.text.splitlines() == [
        "time     what  turn    tok  took reuse",
        "12:00:00 open          +31  40ms        0 turns in the window, 0 not; a new one",
        "12:00:01 read  7       +12 120ms",
        "12:00:02 reply 7       +37  1.9s   331",
        "12:00:10 evict 1–3   -1356 0.4ms        renumbered; next decode 31 ms; the window is full",
        "12:00:11 warn  the system prompt takes a third of the window",
        "12:00:12 reply 8       +34     —   380",
    ]


def test_a_prompt_that_was_stopped_says_where() -> None:
    book = LedgerBook()
    assert not book.apply(TurnStarted(at_s=NOON_S, turn=7, prompt_tokens=800, reused_tokens=0))
    assert not book.apply(prefilled(256, 800))
    assert not book.apply(prefilled(512, 800))
    stopped = done(7, reply=0, reused=0, at_s=NOON_S + 1, decode_tok_s=None)
    assert book.apply(TurnDone(at_s=stopped.at_s, turn=7, stop_reason="cancelled", stats=stopped.stats, seed=None))
    assert [line.split()[1] for line in book.lines] == ["read", "reply"]
    assert book.lines[0].endswith("stopped at 512 of 800")
    assert book.lines[1].endswith("cancelled")


def test_a_prompt_that_makes_room_on_its_way_is_one_line() -> None:
    book = LedgerBook()
    for event in (prefilled(256, 512), evicted([1]), prefilled(512, 512)):
        book.apply(event)
    assert [line.split()[1] for line in book.lines] == ["evict", "read"]


def test_evicted_turns_are_ranges_and_a_part_has_a_star() -> None:
    book = LedgerBook()
    for event in (evicted([1, 2, 3, 7]), evicted([4], 5), evicted([], 6)):
        book.apply(event)
    assert [line.split()[2] for line in book.lines] == ["1–3,7", "4,5*", "6*"]


def test_a_roll_back_tells_a_rebuild() -> None:
    book = LedgerBook()
    for rebuilt in (False, True):
        book.apply(
            RolledBack(
                at_s=NOON_S, turn=4, tokens=96, to_pos=31, rebuilt=rebuilt, processed_tokens=300, why="undo", ms=2500.0
            )
        )
    assert book.lines[0] == "12:00:00 back  4       -96  2.5s        undo"
    assert book.lines[1].endswith("rebuilt from 300 tokens; undo")


def test_pins_recalls_and_branches_have_a_line_each() -> None:
    book = LedgerBook()
    for event in (
        Pinned(at_s=NOON_S, turn=3, pinned=True, tokens=212, kept_tokens=260),
        Pinned(at_s=NOON_S, turn=3, pinned=False, tokens=212, kept_tokens=48, why="no room"),
        prefilled(98, 98),
        Recalled(at_s=NOON_S, turns=[2, 4], tokens=98, ms=1200),
        Branched(at_s=NOON_S, shared_tokens=46, live_branches=2),
        Released(at_s=NOON_S, tokens=27, live_branches=1, why="no room"),
    ):
        book.apply(event)
    assert list(book.lines) == [
        "12:00:00 pin   3               —        212 tokens; 260 never leave",
        "12:00:00 unpin 3               —        no room; 212 tokens; 48 never leave",
        "12:00:00 read  7       +98  49ms",
        "12:00:00 recal 2,4     +98  1.2s        behind the newest turn",
        "12:00:00 fork                  —    46  2 branches share 46 tokens",
        "12:00:00 free          -27     —        a branch that is not in use; no room",
    ]


def test_a_thousand_lines_are_kept_and_a_reader_gets_what_is_new() -> None:
    book = LedgerBook()
    for n in range(LIMIT + 5):
        book.apply(Warned(at_s=NOON_S, text=f"number {n}"))
    assert len(book.lines) == LIMIT
    assert book.lines[0].endswith("number 5")
    assert book.since(book.written) == []
    assert [line.split()[-1] for line in book.since(book.written - 2)] == ["1003", "1004"]
    assert len(book.since(0)) == LIMIT


def test_one_event_is_one_line() -> None:
    book = LedgerBook()
    book.apply(Warned(at_s=NOON_S, text="two\nlines \x1b[2J"))
    opened = Opened(at_s=NOON_S, n_sink=4, processed_tokens=9, in_window_turns=1, evicted_turns=2, ms=1.0, why="a\nb")
    book.apply(opened)
    assert len(book.lines) == 2
    assert book.lines[0].endswith("two lines ␛[2J")
    assert book.lines[1].endswith("1 turn in the window, 2 not; a b")


def test_a_token_writes_nothing() -> None:
    book = LedgerBook()
    assert not book.apply(Text(at_s=NOON_S, turn=1, text="x", tokens=1))
    assert book.written == 0
