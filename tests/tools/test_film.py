"""The film of the README: every row where it stands on the screen, drawn once however often it is seen."""

import xml.etree.ElementTree as ET

import pyte

from tools.film import BASELINE, CELL_HEIGHT, CELL_WIDTH, Frame, film

SVG = "{http://www.w3.org/2000/svg}"


def screen(*lines: str) -> Frame:
    terminal = pyte.Screen(20, len(lines))
    pyte.Stream(terminal).feed("\r\n".join(lines))
    return Frame(tuple(tuple(terminal.buffer[y][x] for x in range(20)) for y in range(len(lines))), 0.5)


def test_a_row_is_drawn_once_and_stands_in_each_frame_where_it_was() -> None:
    frames = [screen("first", "both"), screen("both", "second")]
    root = ET.fromstring(film(frames, "two rows"))
    drawn = {group.get("id"): "".join(group.itertext()) for group in root.iter(f"{SVG}g") if group.get("id") != "film"}
    assert list(drawn.values()) == ["first", "both", "second"]
    shown = [(drawn[use.attrib["href"][1:]], float(use.attrib["y"]) - BASELINE) for use in root.iter(f"{SVG}use")]
    assert shown == [("first", 0), ("both", CELL_HEIGHT), ("both", 2 * CELL_HEIGHT), ("second", 3 * CELL_HEIGHT)]


def test_words_keep_their_column_and_colour_and_are_never_markup() -> None:
    """What a model says could look like a tag; a title must not run into the figure after it."""
    source = film([screen("\x1b[1mCache\x1b[0m  \x1b[38;2;1;2;3m<b> & 日 x\x1b[0m", "\x1b[7m r \x1b[0m")], "<title>")
    root = ET.fromstring(source)
    title, words, reverse = root.iter(f"{SVG}text")
    assert (title.text, title.get("font-weight")) == ("Cache", "bold")
    assert (words.text or "").replace("\N{NO-BREAK SPACE}", " ") == "<b> & 日 x"
    assert words.get("fill") == "#010203"
    assert float(words.attrib["x"]) == round(7 * CELL_WIDTH, 1)
    assert float(words.attrib["textLength"]) == round(10 * CELL_WIDTH, 1)
    _, ground = root.iter(f"{SVG}rect")  # the first is that of the whole screen
    assert reverse.get("fill") != ground.get("fill")
    assert float(ground.attrib["width"]) == round(3 * CELL_WIDTH, 1)
    assert root.findtext(f"{SVG}title") == "<title>"
    assert "http" not in source.replace("http://www.w3.org/2000/svg", ""), "nothing is fetched"
