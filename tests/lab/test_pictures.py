"""Pictures of the lab: written anywhere, the same each time, with the words and numbers that they are of.

Those of the documents are the examples (tools/lab_pictures.py makes them).
"""

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

from chatapp import cli
from tests.support.program import swachat
from tools.lab_pictures import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = {
    "lab-mask": {"1 sink and a window of 3, including the token itself", "chair", "seen: a sink", "not seen"},
    "lab-ring": {"A rolling buffer of 4 cells: slot = position mod 4", "chair", "chair  5", "cell"},
    "lab-ring-sinks": {"A rolling buffer of 3 cells after 1 sink", "The"},
    "lab-sinks": {"full attention", "window alone", "kept tokens", "sigmoid", "the first token is out of the window"},
    "lab-reach": {"24 layers, window 128; alpha 0.9, eps 0.01", "exact", "exponential", "462", "range in tokens"},
    "lab-reach-no-residual": {"24 layers, window 128; alpha 0, eps 0.01", "exact", "Gaussian"},
    "lab-reach-hybrid": {"exact", "exponential", "if all layers had windows", "4,076"},
    "lab-memory": {"gemma-3-27b: windows pruned", "llama-3.1-8b: --ctx 8192", "65,536", "KV cache in GiB"},
}
Draw = Callable[..., bytes]


@pytest.fixture
def draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Draw:
    """The picture that `swachat lab WORDS --out FILE` writes."""

    def draw(words: str, name: str = "picture.svg", *more: str) -> bytes:
        path = tmp_path / name
        assert cli.main(["lab", *words.split(), *more, "--json", "--out", str(path)]) == 0
        assert capsys.readouterr().err == ""
        return path.read_bytes()

    return draw


def texts(svg: bytes) -> set[str]:
    """All text in a picture."""
    return {"".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_pictures_of_the_documents_are_what_the_lab_draws(name: str, draw: Draw) -> None:
    """By their text and their number of marks: the last digit of a coordinate may differ between processors."""
    svg, kept = draw(COMMANDS[name]), (DOCS / "pictures" / f"{name}.svg").read_bytes()
    assert SHOWN[name] <= texts(svg)
    assert (texts(kept), kept.count(b"<path"), kept.count(b"<use")) == (
        texts(svg),
        svg.count(b"<path"),
        svg.count(b"<use"),
    )
    assert re.search(rb"\b20\d\d-\d\d-\d\d", svg) is None  # no date
    pages = "".join((DOCS / "reference" / page).read_text(encoding="utf-8") for page in ("lab.md", "kernels.md"))
    assert f"(../pictures/{name}.svg)" in pages
    assert f"swachat lab {COMMANDS[name]}" in pages


def test_the_same_numbers_give_the_same_file(draw: Draw, tmp_path: Path) -> None:
    """In another process too, where ids and sets come in another order."""
    assert swachat("lab", "ring", "--out", str(tmp_path / "a.svg")).code == 0
    assert (tmp_path / "a.svg").read_bytes() == draw("ring")


def test_there_is_a_picture_of_a_long_mask_and_of_no_layers(draw: Draw) -> None:
    long = texts(draw("mask --tokens 100 --window 20"))
    assert {"A window of 20, including the token itself", "query", "key"} <= long
    assert "exact" in texts(draw("reach --layers 2 --window 3 --eps 5e-324"))  # the smallest number there is
    assert {"0 layers, window 20; alpha 0.9, eps 0", "exact"} <= texts(draw("reach --layers 0 --window 20 --eps 0"))


def test_a_picture_has_a_mark_for_each_pair(draw: Draw) -> None:
    """Of the sentence's 21 pairs that causal attention sees, a window of 3 leaves out 6."""
    svg = draw("mask").decode()
    fills = re.findall(r"<path [^>]*style=\"fill: (#\w+); stroke: #ffffff", svg)
    assert (fills.count("#0072b2"), fills.count("#ececec"), fills.count("#ffffff")) == (15, 6, 15)


def test_png_too(draw: Draw) -> None:
    png = draw("ring", "picture.PNG")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert draw("ring", "again.png") == png


def test_a_persons_words_and_settings_have_no_say(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dollar is no mathematics, an angle bracket no markup, an unknown letter no warning, a matplotlibrc no style."""
    words = ("--text", "a $x^2$ <b>&c 猫")
    svg = draw("ring", "picture.svg", *words)
    assert {"$x^2$", "<b>&c", "猫"} <= texts(svg)
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 40.0)
    assert draw("ring", "picture.svg", *words) == svg
    assert matplotlib.rcParams["font.size"] == 40.0
    assert draw("ring", "picture.png", *words)


def test_no_screen_is_looked_for(draw: Draw) -> None:
    draw("mask")
    assert "matplotlib.pyplot" not in sys.modules


def refused(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["lab", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_without_matplotlib_the_extra_is_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ("reach", "--model", "no-such-model", "--out", str(tmp_path / "a.svg"))
    said = refused(*words, capsys=capsys)
    assert said == "swachat: --out needs Matplotlib, which is not installed. Install the extra: swachat[lab].\n"
    assert cli.main(["lab", "mask"]) == 0  # the numbers need none


def test_what_cannot_be_written_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nowhere" / "a.svg"
    assert f"The picture {path} cannot be written: No such file" in refused("mask", "--out", str(path), capsys=capsys)
    for name in ("a.pdf", "a", ".svg"):
        assert "Use a name that ends in .png or .svg." in refused("mask", "--out", str(tmp_path / name), capsys=capsys)
    said = refused("ring", "--tokens", "99", "--out", str(tmp_path / "a.svg"), capsys=capsys)
    assert "A picture of 99 steps and 4 cells would be illegible." in said
    assert not list(tmp_path.iterdir())
