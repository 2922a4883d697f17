"""How one block looks: nothing that it holds is hidden by how it is drawn."""

import pytest
from rich.color import Color as RichColor
from rich.segment import Segment

from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group
from chatapp.ui.widgets.inspector.paint import DEFAULTS, LETTERS, Palette, block, heated, make_palette
from tests.ui.test_themes import BY_VALUE, GREYS, SHIPPED, contrast

COLOUR = make_palette({"background": "#000000"}, False)
PLAIN = make_palette({}, True)
SIXTEEN_COLOURS = {
    "background": "ansi_default",
    "cell-sink": "ansi_yellow",
    "cell-turn-a": "ansi_blue",
    "cell-turn-b": "ansi_green",
    "cell-free": "ansi_bright_black",
}
SIXTEEN = make_palette(SIXTEEN_COLOURS, False)

SINK = BlockPart(BlockKind.SINK, 1, 0, "system", 0)
ASKED = BlockPart(BlockKind.TURN_A, 4, 1, "user", 1)
ANSWERED = BlockPart(BlockKind.TURN_A, 4, 1, "assistant", 5)
NEXT_ASKED = BlockPart(BlockKind.TURN_B, 4, 2, "user", 9)
PINNED = BlockPart(BlockKind.PINNED, 3, 3, "user", 13)
OTHER_PINNED = BlockPart(BlockKind.PINNED, 3, 4, "user", 16)
FREE = BlockPart(BlockKind.FREE, 4)


def drawn(palette: Palette, *parts: BlockPart, head: bool = False) -> Segment:
    """One block of these parts."""
    return block(Group(0, parts, head), palette)


def fore(segment: Segment) -> RichColor | None:
    """The colour of the glyph."""
    return segment.style.color if segment.style is not None else None


def back(segment: Segment) -> RichColor | None:
    """The colour behind the glyph."""
    return segment.style.bgcolor if segment.style is not None else None


def theme(name: str) -> RichColor:
    """A cell colour as it is sent to the terminal."""
    return COLOUR.colour(name).rich_color


def test_one_message_is_solid_and_its_reply_paler() -> None:
    asked, answered = drawn(COLOUR, ASKED), drawn(COLOUR, ANSWERED)
    assert (asked.text, answered.text) == ("█", "█")
    assert fore(asked) == theme("turn-a")
    assert fore(answered) != theme("turn-a")


def test_two_messages_are_split_where_one_ends() -> None:
    """One of eight cells on the left of one turn, seven of the other: the narrowest bar."""
    split = drawn(COLOUR, ASKED.cut(0, 1), NEXT_ASKED._replace(n=7))
    assert split.text == "▏"
    assert (fore(split), back(split)) == (theme("turn-a"), theme("turn-b"))


@pytest.mark.parametrize("n", [1, 100, 100_000])
def test_a_sink_is_half_of_its_block_whatever_else_is_there(n: int) -> None:
    for head in (False, True):
        segment = drawn(COLOUR, SINK, ASKED._replace(n=n), NEXT_ASKED, head=head)
        assert (segment.text, fore(segment)) == ("▌", theme("sink"))
        assert drawn(PLAIN, SINK, ASKED._replace(n=n), NEXT_ASKED, head=head).text == "s"


def test_more_than_two_things_are_a_chequer_of_the_two_largest() -> None:
    segment = drawn(COLOUR, ASKED, PINNED, NEXT_ASKED._replace(n=9))
    assert segment.text == "▚"
    assert (fore(segment), back(segment)) == (theme("turn-b"), theme("turn-a"))


def test_two_messages_that_look_alike_have_a_line_between_them() -> None:
    assert drawn(COLOUR, PINNED, OTHER_PINNED).text == "│"
    assert drawn(COLOUR, PINNED, PINNED._replace(pos=90)).text == "█"


def test_the_place_of_the_next_token_is_marked() -> None:
    segment = drawn(COLOUR, ASKED, FREE, head=True)
    assert (segment.text, fore(segment)) == ("▌", theme("head"))
    assert drawn(PLAIN, ASKED, FREE, head=True).text == ">"


def test_without_colour_pure_and_mixed_blocks_differ() -> None:
    assert drawn(PLAIN, ASKED).text == "█"
    assert drawn(PLAIN, ANSWERED).text == "▓"
    assert drawn(PLAIN, NEXT_ASKED).text == "▒"
    assert drawn(PLAIN, PINNED).text == "P"
    assert drawn(PLAIN, ASKED, NEXT_ASKED.cut(0, 1)).text == "a"
    assert drawn(PLAIN, PINNED, NEXT_ASKED.cut(0, 1)).text == "p"
    assert drawn(PLAIN, FREE).text == "·"


def test_letters_are_different() -> None:
    assert len(set(LETTERS.values())) == len(BlockKind)


def test_without_colour_nothing_is_coloured() -> None:
    for parts in ((SINK,), (ASKED, NEXT_ASKED), (FREE,)):
        assert drawn(PLAIN, *parts).style is None
    assert PLAIN.style("mismatch").color is None


def test_sixteen_colours_shade_a_reply() -> None:
    """Nobody knows what a paler ansi_blue would be; ▓ is the same blue with the background showing through."""
    asked, answered = drawn(SIXTEEN, ASKED), drawn(SIXTEEN, ANSWERED)
    assert (asked.text, answered.text) == ("█", "▓")
    assert fore(asked) == fore(answered)
    mixed = drawn(SIXTEEN, ASKED, ANSWERED)
    assert mixed.text == "▚"
    assert back(mixed) is None


def test_a_theme_of_greys_is_drawn_without_colour() -> None:
    greys = {f"cell-{name}": f"#{0x202020 + 0x0A0A0A * i:06x}" for i, name in enumerate(DEFAULTS)}
    assert make_palette(greys, False).plain


def test_a_theme_that_paints_turns_alike_is_drawn_without_colour() -> None:
    assert make_palette({"cell-turn-a": "#ff0000", "cell-turn-b": "#ff0000"}, False).plain


def test_on_a_terminal_of_sixteen_colours_only_a_theme_of_these_is_drawn_in_colour() -> None:
    variables = dict.fromkeys((f"cell-{name}" for name in DEFAULTS), "ansi_red") | SIXTEEN_COLOURS
    assert make_palette({}, False, sixteen=True).plain
    assert not make_palette(variables, False, sixteen=True).plain


def test_a_colour_that_cannot_be_read_is_the_default() -> None:
    assert make_palette({"cell-sink": "no colour"}, False).colour("sink") == COLOUR.colour("sink")


def test_heat_is_a_bar_on_the_colour_of_what_is_there() -> None:
    """Each level is another height, and the block's own colour, dimmed, stays behind it."""
    bars = [heated(Group(0, (ASKED,)), level, COLOUR) for level in range(8)]
    assert "".join(bar.text for bar in bars) == " ▁▂▃▄▅▆▇"
    assert {fore(bar) for bar in bars} == {theme("heat")}
    assert len({back(bar) for bar in bars}) == 1
    assert back(bars[0]) not in (None, theme("turn-a"))
    assert back(heated(Group(0, (PINNED,)), 3, COLOUR)) != back(bars[3])


@pytest.mark.parametrize("name", [name for name in BY_VALUE if name not in GREYS])
def test_heat_stands_out_from_every_colour_behind_it(name: str) -> None:
    """3 is what WCAG 2.1 asks of a shape that means something."""
    worn = SHIPPED[name]
    palette = make_palette({"background": worn.background or "", **worn.variables}, False)
    assert not palette.plain
    for kind in set(BlockKind) - {BlockKind.STRAY}:
        for role in ("user", "assistant"):
            bar = heated(Group(0, (BlockPart(kind, 1, 1, role, 0),)), 4, palette)
            ground = back(bar) or palette.background.rich_color
            assert bar.style is not None
            assert bar.style.color is not None
            assert contrast(bar.style.color.get_truecolor().hex, ground.get_truecolor().hex) >= 3


def test_tokens_that_the_look_did_not_see_are_neither_hot_nor_cold() -> None:
    group = Group(0, (ASKED,))
    for palette in (COLOUR, PLAIN, SIXTEEN):
        assert heated(group, None, palette).text not in {heated(group, level, palette).text for level in range(8)}
    assert heated(Group(0, (FREE,)), None, COLOUR).text == "·"


def test_without_colour_heat_is_a_digit_and_the_cold_keeps_its_letter() -> None:
    assert [heated(Group(0, (PINNED,)), level, PLAIN).text for level in range(8)] == list("P1234567")


def test_what_is_not_seen_has_no_colour_behind_its_heat() -> None:
    unseen = BlockPart(BlockKind.UNSEEN, 9)
    assert back(heated(Group(0, (unseen, ASKED.cut(0, 1))), 3, COLOUR)) is None


def test_no_heat_hides_a_mismatch() -> None:
    stray = Group(0, (BlockPart(BlockKind.STRAY, 2, pos=7),))
    for palette in (COLOUR, PLAIN, SIXTEEN):
        assert heated(stray, 7, palette) == heated(stray, None, palette) == block(stray, palette)
    assert fore(block(stray, COLOUR)) == theme("mismatch")
