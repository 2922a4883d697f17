"""The ledger's history: what is entered for each event, how it reads, and what it adds up to."""

import msgspec

from chatapp.presentation.ledger.book import KINDS, LIMIT, LedgerBook
from chatapp.presentation.ledger.lines import NARROW_WIDTH, as_text, heading, lines, sum_lines
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import (
    Branched,
    Evicted,
    Failed,
    Opened,
    Pinned,
    Prefilled,
    Recalled,
    Released,
    RolledBack,
    Saved,
    Text,
    TurnDone,
    TurnStarted,
    Warned,
)
from tests.support.presentation.inspector_events import NOON_S, done, story


def prefilled(done_tokens: int, total: int, turn: int | None = 7) -> Prefilled:
    """A piece of turn 7's prompt went through."""
    return Prefilled(at_s=NOON_S, turn=turn, done=done_tokens, total=total, ms=done_tokens / 2)


def began(turn: int = 7, prompt: int = 800) -> TurnStarted:
    """The engine took the person's message."""
    return TurnStarted(at_s=NOON_S, turn=turn, prompt_tokens=prompt, reused_tokens=0)


def rolled_back(*, rebuilt: bool = False, from_checkpoint: bool = False) -> RolledBack:
    """Turn 4 was taken back."""
    return RolledBack(
        at_s=NOON_S,
        turn=4,
        tokens=96,
        to_pos=31,
        rebuilt=rebuilt,
        from_checkpoint=from_checkpoint,
        processed_tokens=300 if rebuilt or from_checkpoint else 0,
        why="undo",
        ms=2500.0,
    )


def told(*events: AnyEvent) -> LedgerBook:
    """A book that was told of these."""
    book = LedgerBook()
    for event in events:
        book.apply(event)
    return book


def narrow(book: LedgerBook) -> list[str]:
    """Its lines in a panel."""
    return [line for entry in book.entries for line in lines(entry, NARROW_WIDTH)]


def kinds(book: LedgerBook) -> list[str]:
    """What was entered."""
    return [entry.kind for entry in book.entries]


def evicted(turns: list[int], partial_turn: int | None = None, *, renumbered: bool = True, again: int = 0) -> Evicted:
    """Turns left."""
    return Evicted(
        at_s=NOON_S,
        turn=9,
        policy="sinks",
        tokens=212,
        turns=turns,
        partial_turn=partial_turn,
        removed=[(31, 243)],
        renumbered=renumbered,
        ms=0.4,
        next_decode_ms=31.0,
        reprocessed_tokens=again,
        why="the window is full",
    )


def test_a_story_of_two_turns() -> None:
    """Only the last piece of the prompt has a line; what was not timed (turn 8 never started here) is a dash."""
    book = told(*story())
    assert [heading(NARROW_WIDTH), *narrow(book)] == [
        "time     what    turn   tok  took cache",
        "12:00:00 open           +31  40ms        0 turns in the window, 0 evicted; a new one",
        "12:00:01 prefill 7      +12 120ms",
        "12:00:02 reply   7      +37  1.8s   331",
        "12:00:10 evict   1–3  -1356 0.4ms        the window is full",
        "12:00:10 shift               31ms        keys are rotated in the next decode; this is its time",
        "12:00:11 warn                   —        the system prompt takes a third of the window",
        "12:00:12 reply   8      +34     —   380",
    ]


def test_every_figure_up_to_the_last_column_has_its_place() -> None:
    """A number that grows must not push the next one out of a panel of 39 columns."""
    book = told(done(9999, reply=48_213, reused=1_204_000, at_s=NOON_S, decode_tok_s=None))
    assert narrow(book) == ["12:00:00 reply   9999  +48k     —  1.2M"]
    assert len(narrow(book)[0]) == NARROW_WIDTH


def test_wide_lines_have_whole_figures_and_the_whole_reason() -> None:
    """Nothing is cut at 110 columns: a long reason goes on in the next line, under its column."""
    why = "the window is full and what was said before the beginning of this turn is longer than what it leaves"
    book = told(msgspec.structs.replace(evicted(list(range(1, 20, 2))), why=why, tokens=48_213))
    shown = [line for entry in book.entries for line in lines(entry, 110)]
    assert max(len(line) for line in shown) <= 110
    assert shown[0].split()[:5] == ["12:00:00", "evict", "-48,213", "0.4", "ms"]
    assert heading(110).index("why") == shown[0].index("turns 1,3") == len(shown[1]) - len(shown[1].lstrip())
    reasons = " ".join(line[heading(110).index("why") :] for line in shown)
    assert reasons.startswith(f"turns 1,3,5,7,9,11,13,15,17,19; {why} keys are rotated")


def test_at_eighty_columns_the_reason_is_whole_too() -> None:
    """Figures are short there, and the reason goes on under itself."""
    why = "the window is full and what was said before it is longer than what this leaves"
    shown = lines(told(msgspec.structs.replace(evicted([3]), why=why)).entries[0], 78)
    assert shown == [
        "12:00:00 evict   3     -212 0.4ms        the window is full and what was said",
        " " * 41 + "before it is longer than what this",
        " " * 41 + "leaves",
    ]


def test_a_prompt_that_was_stopped_says_where() -> None:
    stopped = done(7, reply=0, reused=0, at_s=NOON_S + 1, decode_tok_s=None)
    book = told(
        began(),
        prefilled(256, 800),
        prefilled(512, 800),
        TurnDone(at_s=stopped.at_s, turn=7, stop_reason="cancelled", stats=stopped.stats, seed=None),
    )
    assert kinds(book) == ["prefill", "reply"]
    assert [entry.why for entry in book.entries] == ["stopped at 512 of 800", "cancelled"]


def test_a_prompt_that_makes_room_on_its_way_is_one_line() -> None:
    book = told(began(), prefilled(256, 512), evicted([1], renumbered=False), prefilled(512, 512))
    assert kinds(book) == ["evict", "prefill"]
    assert book.entries[0].why == "positions kept; the window is full"


def test_evicted_turns_are_ranges_and_a_part_has_a_star() -> None:
    book = told(
        evicted([1, 2, 3, 7], renumbered=False), evicted([4], 5, renumbered=False), evicted([], 6, renumbered=False)
    )
    assert [line[17:24].split()[0] for line in narrow(book)] == ["1–3,7", "4,5*", "6*"]


def test_an_eviction_that_processes_again_costs_a_rebuild_and_no_time_twice() -> None:
    """Why did it slow down: the rebuild's time is its own, not the eviction's as well."""
    book = told(evicted([1], again=300))
    assert [(entry.kind, entry.tokens, entry.processed, entry.ms) for entry in book.entries] == [
        ("evict", -212, None, None),
        ("rebuild", None, 300, 0.4),
    ]


def test_a_roll_back_tells_how() -> None:
    """A cut, a checkpoint, or a rebuild; the pieces of a rebuild, which come before it, are no prompt."""
    book = told(
        rolled_back(),
        rolled_back(from_checkpoint=True),
        prefilled(256, 300, turn=4),
        prefilled(300, 300, turn=4),
        rolled_back(rebuilt=True),
    )
    assert [(entry.kind, entry.tokens, entry.processed, entry.ms, entry.why) for entry in book.entries] == [
        ("back", -96, None, 2500.0, "undo"),
        ("back", -96, 300, 2500.0, "from a checkpoint; undo"),
        ("back", -96, None, None, "undo"),
        ("rebuild", None, 300, 2500.0, "the cache could not be rolled back there"),
    ]


def test_a_prompt_that_was_stopped_and_taken_out_by_a_rebuild_is_both() -> None:
    """In one turn: what was read of the prompt, then what was processed to take it out again."""
    book = told(began(), prefilled(256, 800), prefilled(256, 300), prefilled(300, 300), rolled_back(rebuilt=True))
    assert [(entry.kind, entry.processed) for entry in book.entries] == [
        ("prefill", 256),
        ("back", None),
        ("rebuild", 300),
    ]
    assert book.entries[0].why == "stopped at 256 of 800"


def test_what_a_stop_had_left_undone_is_a_rebuild() -> None:
    """It is processed before the next message; nothing else tells of it."""
    book = told(prefilled(256, 512, turn=None), prefilled(512, 512, turn=None), began(8))
    assert [(entry.kind, entry.processed, entry.why) for entry in book.entries] == [
        ("rebuild", 512, "the rest of an interrupted prefill")
    ]


def test_an_opening_is_one_line_whatever_it_took() -> None:
    """Its pieces are not a prompt's; a cache from the disk is a restore."""
    opened = Opened(
        at_s=NOON_S, n_sink=4, processed_tokens=9, in_window_turns=2, evicted_turns=1, ms=80.0, why="saved",
        restored_tokens=400, reused_tokens=3,
    )  # fmt: skip
    book = told(
        prefilled(9, 9, turn=None), opened, prefilled(5, 9, turn=None), Failed(at_s=0, kind="user", what="", todo="")
    )
    assert [(entry.kind, entry.tokens, entry.processed, entry.reused) for entry in book.entries] == [
        ("restore", 409, 9, 3),
        ("rebuild", None, 5, None),
    ]
    assert book.entries[1].why == "stopped at 5 of 9"


def test_pins_recalls_branches_and_saves_have_a_line_each() -> None:
    book = told(
        Pinned(at_s=NOON_S, turn=3, pinned=True, tokens=212, kept_tokens=260),
        Pinned(at_s=NOON_S, turn=3, pinned=False, tokens=212, kept_tokens=48, why="no room"),
        prefilled(98, 98),
        Recalled(at_s=NOON_S, turns=[2, 4], tokens=98, ms=1200),
        Branched(at_s=NOON_S, shared_tokens=46, live_branches=2),
        Released(at_s=NOON_S, tokens=27, live_branches=1, why="no room"),
        Saved(at_s=NOON_S, path="/x", tokens=4095, size_bytes=94_000_000, ms=390.0),
    )
    assert narrow(book) == [
        "12:00:00 pin     3              —        212 tokens; 260 are never evicted",
        "12:00:00 unpin   3              —        no room; 212 tokens; 48 are never evicted",
        "12:00:00 recall  2,4    +98  1.2s        after the newest turn",
        "12:00:00 branch                 —    46  2 branches; shared cells are held once",
        "12:00:00 release        -27     —        an inactive branch; no room",
        "12:00:00 save               390ms        4,095 tokens to disk, 89.6 MiB",
    ]
    assert set(kinds(book)) <= set(KINDS)


def test_the_sums_count_what_the_book_has_given_up() -> None:
    book = told(*(evicted([turn]) for turn in range(1, LIMIT + 6)))
    assert len(book.entries) == LIMIT
    assert book.sums["evict"].times == LIMIT + 5
    assert book.sums["evict"].tokens == -212 * (LIMIT + 5)
    assert book.sums["shift"].ms == 31.0 * (LIMIT + 5)
    assert [line.split()[:2] for line in sum_lines(book.sums, 36)] == [["evict", "4,005×"], ["shift", "4,005×"]]
    assert len(sum_lines(book.sums, 110)) == 1
    assert "-849,060 tok" in sum_lines(book.sums, 110)[0]


def test_a_reader_gets_what_is_new() -> None:
    book = told(*(Warned(at_s=NOON_S, text=f"number {n}") for n in range(LIMIT + 5)))
    assert book.entries[0].why == "number 5"
    assert book.since(book.written) == []
    assert [entry.why for entry in book.since(book.written - 2)] == [f"number {LIMIT + 3}", f"number {LIMIT + 4}"]
    assert len(book.since(0)) == LIMIT


def test_one_entry_is_one_line_whatever_its_words() -> None:
    book = told(
        Warned(at_s=NOON_S, text="two\nlines \x1b[2J"),
        Opened(at_s=NOON_S, n_sink=4, processed_tokens=9, in_window_turns=1, evicted_turns=2, ms=1.0, why="a\nb"),
    )
    assert [entry.why for entry in book.entries] == ["two lines ␛[2J", "1 turn in the window, 2 evicted; a b"]
    assert len(as_text(book.entries).splitlines()) == 3


def test_a_token_writes_nothing() -> None:
    book = LedgerBook()
    assert not book.apply(Text(at_s=NOON_S, turn=1, text="x", tokens=1))
    assert book.written == 0
