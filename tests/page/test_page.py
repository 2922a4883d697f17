"""The page of a trace: what it says, how large it may be, and that nothing in a trace can act in a browser."""

import json
import re
import resource
import struct
import subprocess
import zlib
from base64 import b64decode
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.cli import main
from chatapp.page import conversation
from chatapp.page import gather as gathering
from chatapp.page import heads as tables
from chatapp.page.bitmap import picture
from chatapp.page.columns import Column, column_of, columns
from chatapp.page.curves import HEIGHT, curve
from chatapp.page.gather import Page, gather
from chatapp.page.heads import heads, needs
from chatapp.page.render import render
from chatapp.presentation.format import turns
from chatapp.protocol.commands import Command, Probe
from chatapp.protocol.events import Probed, Snapshot
from chatapp.protocol.values import CellRun
from chatapp.replay.index import Index
from chatapp.replay.timeline import Timeline
from tests.support.browser import open_page
from tests.support.fake_engine.script import Script
from tests.support.presentation.inspector_events import loaded
from tests.support.presentation.probe_events import (
    expert_model,
    expert_sample,
    layer,
    measured_sinks,
    plain_sample,
    probed,
    with_sinks,
)
from tests.support.program import COMMAND
from tests.support.traces import record, send, sends

HOSTILE = (
    "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    " \x1b[31mred\x1b[0m \u202ereversed\u202c {{ 7 * 7 }} {% raw %} &lt;b&gt; ]]> <!-- <plaintext>"
)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight turns of which some have left at the end."""
    path = tmp_path_factory.mktemp("trace") / "trace"
    record(path, sends(8, 30), Script(n_ctx=256))
    return path


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Probed]]:
    """Four turns; a token of each of the last three was looked into. And these looks."""
    path = tmp_path_factory.mktemp("looked") / "trace"
    asks: list[Command] = [send(1, "word1")]
    for turn in (2, 3, 4):
        asks += [Probe(), send(turn, f"word{turn}")]
    events = record(path, asks, Script(n_ctx=256, looks=True))
    return path, [event for event in events if isinstance(event, Probed)]


def page_of(path: Path) -> Page:
    """What the page of a trace says."""
    with Index(path) as index:
        return gather(Timeline(index))


class Elements(HTMLParser):
    """The elements of a page: tags with their attributes, and the text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._quiet = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))
        self._quiet = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        """Note the end of style and script."""
        self._quiet = False

    def handle_data(self, data: str) -> None:
        """Note what a person reads."""
        if not self._quiet:
            self.text += data


def test_the_page_says_what_was_said_and_what_left(tmp_path: Path) -> None:
    """Without a script: conversation, evictions, ledger and memory are there for any browser, and for a search."""
    record(tmp_path / "t", sends(12, 30), Script(n_ctx=256, replies=("A few words.",)))
    page = page_of(tmp_path / "t")
    text = Elements(render(page)).text
    assert text.count("A few words.") == 12
    assert "word7 word7" in text
    assert re.search(r"(was|were) evicted: \d", text)
    assert re.search(r"In the window then: turns \d+–12; evicted: 1–\d+ \(\d+ of 256 cells\)\.", text)
    assert {"prefill", "reply", "evict"} <= set(page.kinds)
    assert [item.kind for item in page.items].count("reply") == 12
    assert page.memory[0] == ("weights", "98 MiB", "98 MiB")


def test_nothing_of_a_trace_becomes_an_element(tmp_path: Path) -> None:
    """Its text is data: whatever is said, the page has the elements that it has with harmless words."""
    tags: list[list[str]] = []
    for number, words in enumerate((HOSTILE, re.sub(r"\S", "x", HOSTILE))):
        path = tmp_path / f"{number}"
        record(path, [send(1, words)], Script(replies=(words,), warnings=(words,)))
        page = render(page_of(path))
        elements = Elements(page)
        tags.append([tag for tag, _ in elements.tags])
        assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
        assert not [name for _, attributes in elements.tags for name in attributes if name == "style"]
        assert "\x1b" not in page
        assert "\u202e" not in page
        if words == HOSTILE:
            assert "</script><script>document.title = 'owned'</script>" in elements.text
            assert "{{ 7 * 7 }}" in elements.text
    assert tags[0] == tags[1]


def test_the_page_may_fetch_nothing(tmp_path: Path) -> None:
    """No address but data: in it, and a policy that would refuse any."""
    record(tmp_path / "t", sends(2))
    page = render(page_of(tmp_path / "t"))
    tags = Elements(page).tags
    policy = next(attributes["content"] for _, attributes in tags if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    links = [value for _, attributes in tags for name, value in attributes.items() if name in ("href", "src")]
    assert {(link or "").split(":")[0] for link in links} == {"data", "#conversation"}
    assert "http:" not in page
    assert "https:" not in page


def test_a_long_trace_makes_a_page_that_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has a bound, and where something was left out the page says so."""
    record(tmp_path / "t", sends(30, 30), Script(n_ctx=256))
    monkeypatch.setattr(gathering, "MOST_ENTRIES", 12)
    monkeypatch.setattr(conversation, "MOST_ITEMS", 10)
    monkeypatch.setattr(conversation, "LONGEST_MESSAGE", 50)
    monkeypatch.setattr(gathering, "columns", partial(columns, most=20))
    page = page_of(tmp_path / "t")
    assert (len(page.items), len(page.ledger), page.n_columns) == (10, 12, 20)
    assert all(len(item.text) < 120 for item in page.items)
    assert "characters omitted here" in page.items[-2].text + page.items[-1].text + page.items[0].text
    told = " ".join(page.notices)
    assert re.search(r"The map and the curves show 20 moments of the trace's \d+ snapshots\.", told)
    assert re.search(r"The ledger shows the last 12 of \d+ lines; the totals include all\.", told)
    assert re.search(r"Only the last 10 of \d+ messages and notices are shown\.", told)


def test_a_trace_without_a_picture_has_a_page(tmp_path: Path) -> None:
    """An engine that could not load its model, say."""
    (tmp_path / "t").write_text('{"type":"Failed","at_s":1.0,"kind":"model","what":"It is damaged.","todo":""}\n')
    text = Elements(render(page_of(tmp_path / "t"))).text
    assert "This trace has no snapshots of the cache." in text
    assert "It is damaged." in text


# --------------------------------------------------------------------------- sinks by layer and head


def digits(levels: bytes) -> str:
    """What a person reads of a layer's heads: tenths of the attention."""
    return "".join("·" if level < 25.5 else str(min(9, level * 10 // 255)) for level in levels)


def test_the_sinks_of_the_newest_look_are_a_table(looked: tuple[Path, list[Probed]]) -> None:
    """For any browser, and for eyes that see no colour: each layer and head of the last look, as llama.cpp had it."""
    path, looks = looked
    elements = Elements(render(page_of(path)))
    table = elements.text[elements.text.index("kept, by head") : elements.text.index("component")]
    for one in looks[-1].layers:
        mean = sum(one.kept) / len(one.kept) / 255
        assert f"{one.layer}global{mean:.0%}{digits(one.kept)}\n" in table
    assert "learned, by head" not in elements.text
    shades = [attributes["class"] for tag, attributes in elements.tags if tag == "td" and "class" in attributes]
    assert shades.count("kept g9") == sum(digits(one.kept).count("9") for one in looks[-1].layers)
    assert f"Token at position {looks[-1].pos}, turn 4" in elements.text


def test_each_moment_has_the_look_that_was_the_newest_then(looked: tuple[Path, list[Probed]]) -> None:
    """None before the first; the slider must not show attention that nobody had seen yet."""
    path, looks = looked
    with Index(path) as index:
        found = columns(Timeline(index))
        entries = index.of_kind("Probed")
        shown = heads(found, [])
        assert len(shown.tables) == len(looks) == 3
        newest = [sum(entry < column.position for entry in entries) for column in found]
        assert shown.at == [number - 1 if number else None for number in newest]
        assert set(shown.at) == {None, 0, 1, 2}
        positions = [re.findall(r"position (\d+)", table.about)[0] for table in shown.tables]
        assert positions == [str(look.pos) for look in looks]


def test_learned_sinks_stand_beside_the_kept_ones() -> None:
    """They are no tokens and no cells (gpt-oss): their part is a table of its own, and said apart in words."""
    table = heads([Column(1, 0.0, 0.0, snapshot_of([], 256), expert_sample(n_layer=2))], []).tables[0]
    assert [tuple(row) for row in table.rows] == [
        ("0", "sliding", "30%", "10", "22"),
        ("1", "global", "30%", "10", "22"),
    ]
    assert table.about.startswith("Token at position 411, turn 8, ")
    assert table.about.endswith(
        ": 30% of the attention on sinks; 10% on kept ones, 20% on learned ones; global layers 30%; sliding layers 30%."
    )


def test_layers_of_fewer_heads_leave_places_empty() -> None:
    """A place of no head is no head without attention."""
    looks = [probed([layer(0, [255, 0, 128]), layer(1, [255])], pos=7), probed([layer(0, [26, 26, 26, 26])], pos=8)]
    found = [Column(at, 0.0, 0.0, snapshot_of([], 256), look) for at, look in enumerate(looks)]
    shown = heads(found, [])
    assert shown.n_kept == 4
    assert [[row.kept for row in table.rows] for table in shown.tables] == [["905 ", "9   "], ["1111"]]


def test_many_looks_are_thinned_and_the_newest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table at every moment of a model of thousands of heads would be a page that does not open."""
    found = [Column(at, 0.0, 0.0, snapshot_of([], 256), plain_sample(pos=100 + at)) for at in range(7)]
    monkeypatch.setattr(tables, "MOST_DIGITS", 3 * 270)
    notices: list[str] = []
    shown = heads(found, notices)
    assert [table.about.split(",")[0] for table in shown.tables] == [
        f"Token at position {at}" for at in (100, 103, 106)
    ]
    assert shown.at == [0, 0, 0, 1, 1, 1, 2]
    assert notices == ["Sinks by layer and head are shown for 3 of 7 probe samples."]
    monkeypatch.setattr(tables, "MOST_CELLS", 269)
    assert heads(found, []).tables == []


def test_what_was_measured_of_the_models_sinks_is_said() -> None:
    """And that the cache keeps fewer, where it does."""
    short = snapshot_of([CellRun(turn=1, role="user", kind="recent", pos=0, n=9)], 256)
    assert needs(None, None) == []
    assert needs(with_sinks(loaded(), measured_sinks()), short) == [
        "By measurement it needs 1 first token.",
        "At the end the cache kept fewer: 0.",
    ]
    assert "has learned sinks" in needs(expert_model(), short)[0]


# --------------------------------------------------------------------------- the parts


def snapshot_of(runs: list[CellRun], n_ctx: int) -> Snapshot:
    """A cache that holds these."""
    return Snapshot(
        at_s=1.0, runs=runs, ghosts=[], evicted_tokens=0, evicted_turns=0, shifts=0, n_ctx=n_ctx, n_ctx_swa=None,
        n_swa=None, n_sink=0, n_used=sum(run.n for run in runs), pos_min=None, pos_max=None, mismatch=None,
        resident_bytes=None, devices=[], prompt_tok_s=None, decode_tok_s=None,
    )  # fmt: skip


def pixels(url: str) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of palette numbers of a PNG, read without the code that wrote it."""
    data = b64decode(url.removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, idat, width, height = 8, b"", 0, 0
    while at < len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + body)
        if name == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        idat += body if name == b"IDAT" else b""
        at += 12 + length
    raw = zlib.decompress(idat)
    assert len(raw) == height * (width + 1)
    return width, height, [raw[row * (width + 1) + 1 : (row + 1) * (width + 1)] for row in range(height)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["sink", "pinned", "recalled", "recent"]), st.integers(1, 90)), max_size=6),
    st.sampled_from([16, 256, 600, 131_072]),
)
def test_the_picture_shows_what_the_window_holds(drawn: list[tuple[str, int]], n_ctx: int) -> None:
    """Row by row as far as there is a row for each cell; of a larger window, nothing that stays is ever too thin."""
    runs: list[CellRun] = []
    for number, (kind, n) in enumerate(drawn):
        used = sum(run.n for run in runs)
        if used + n <= n_ctx:
            runs.append(CellRun(turn=number, role="user", kind=kind, pos=used, n=n))
    width, height, rows = pixels(picture([Column(1, 0.0, 0.0, snapshot_of(runs, n_ctx), None)]))
    assert (width, height) == (1, min(256, n_ctx))
    column = [row[0] for row in rows]
    numbers = {"sink": 1, "pinned": 2, "recalled": 3}
    if n_ctx <= 256:
        expected = [numbers.get(run.kind, 4 if run.turn % 2 else 6) for run in runs for _ in range(run.n)]
        assert column == expected + [0] * (n_ctx - len(expected))
    else:
        if len(stay := [run for run in runs if run.kind in numbers]) == 1:
            assert numbers[stay[0].kind] in column
        assert sum(number != 0 for number in column) >= sum(run.n for run in runs) * height // n_ctx


@given(st.sets(st.integers(1, 40)), st.integers(0, 40))
def test_what_is_out_of_sight_is_all_the_rest(inside: set[int], last: int) -> None:
    """Named as ranges, as everywhere; without a list of all turns that there ever were."""
    rest = set(range(1, last + 1)) - inside
    assert conversation.between(sorted(inside), last) == turns(rest)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1e6), max_size=40))
def test_a_curve_stays_within_its_frame_and_leaves_gaps_open(values: list[float | None]) -> None:
    """What nobody measured is no point of it."""
    drawn = curve("x", "", values, str)
    known = [value for value in values if value is not None]
    assert (drawn is None) == (not known)
    if drawn is not None:
        points = [tuple(map(float, point.split(","))) for piece in drawn.pieces for point in piece.split()]
        assert len(points) == 2 * len(known)
        assert all(0 <= y <= HEIGHT for _, y in points)
        assert {int(x) for x, _ in points[::2]} == {x for x, value in enumerate(values) if value is not None}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300))
def test_columns_go_from_the_first_picture_to_the_end(trace: Path, most: int) -> None:
    """In order, as many as there may be, each with the newest snapshot by then."""
    with Index(trace) as index:
        timeline = Timeline(index)
        found = columns(timeline, max(2, most))
        assert 1 <= len(found) <= max(2, most)
        assert [column.position for column in found] == sorted({column.position for column in found})
        for column in found:
            before = [entry for entry in index.of_kind("Snapshot") if entry < column.position]
            assert column.snapshot == index.entry(before[-1])
        for entry in timeline.evictions:
            at = column_of(found, entry + 1)
            assert found[at].position >= entry + 1 or at == len(found) - 1


# --------------------------------------------------------------------------- the command


def test_the_command_writes_a_page_and_nothing_over_it_unasked(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["inspect", str(trace), "--html", str(page)]) == 0
    assert "word3" in page.read_text()
    assert main(["inspect", str(trace), "--html", str(page)]) == 2
    assert f"The page {page} already exists. Name another one, or overwrite it with --force." in capsys.readouterr().err
    assert main(["inspect", str(trace), "--html", str(page), "--force"]) == 0
    assert main(["inspect", str(tmp_path / "none"), "--html", str(page)]) == 2
    assert "cannot be read: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_page_on_a_full_disk_leaves_what_was_there(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], force: tuple[str, ...]
) -> None:
    """It left an empty page, and with --force it emptied the one that was there."""
    page = tmp_path / "page.html"
    if force:
        page.write_text("earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert main(["inspect", str(trace), "--html", str(page), *force]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "page.html cannot be written: File too large." in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "earlier")] * len(force)


def test_a_page_goes_to_a_pipe_too(trace: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "inspect", str(trace), "--html", "/dev/stdout"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as program:
        out, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    assert out.rstrip().endswith(b"</html>")


# --------------------------------------------------------------------------- in a browser


@contextmanager
def listening() -> Generator[tuple[str, list[str]]]:
    """An address of this machine, and the paths that were asked for there."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.timeout(300)
def test_a_browser_opens_a_hostile_trace_and_nothing_happens(tmp_path: Path) -> None:
    """No request, no word on the console, no script but ours; the numbers are there, and the script has put the
    cursor on the last moment. A page without our care, opened in the same way, does make the request.
    """
    with listening() as (address, asked):
        hostile = f"{HOSTILE} <img src='{address}/image'> <link rel=stylesheet href='{address}/style'> [x]({address}/x)"
        asks = [send(1, hostile), *sends(9, 30)[1:]]
        record(tmp_path / "t", asks, Script(n_ctx=256, replies=(hostile, "A few words."), warnings=(hostile,)))
        page = tmp_path / "page.html"
        page.write_text(render(page_of(tmp_path / "t")))
        opened = open_page(page, tmp_path / "profile")
        assert opened.console == []
        assert asked == []
        assert "<title>t – swachat</title>" in opened.dom
        figures = re.search(r'<output id="figures" for="moment">(.*?)</output>', opened.dom)
        assert figures is not None
        moments = re.search(r'id="moments">(.*?)</script>', opened.dom)
        assert moments is not None
        last = json.loads(moments[1])["moments"][-1]
        assert f"{last['cells']} cells · turns {last['window']}" in figures[1]
        assert re.search(r"\d+ of \d+ lines", opened.dom)
        assert 'class="reply out"' in opened.dom
        assert '<span class="visibility">in the window</span>' in opened.dom

        careless = tmp_path / "careless.html"
        careless.write_text(f"<img src='{address}/image'><script>nothing()</script>")
        opened = open_page(careless, tmp_path / "another")
        assert asked == ["/image"]
        assert len(opened.console) == 1


def filled(body: str) -> list[tuple[str, str]]:
    """The cells of a table's body: their classes and words."""
    return re.findall(r'<t[dh](?: (?:class|scope)="([^"]*)"[^>]*)?>([^<]*)<', body.replace(' class=""', ""))


@pytest.mark.timeout(300)
def test_the_slider_goes_to_the_sinks_of_that_moment(looked: tuple[Path, list[Probed]], tmp_path: Path) -> None:
    """The script draws a table as the page has it: at the first look's moment, and none before that."""
    path, looks = looked
    page = page_of(path)
    written = render(page)
    for at, expected in ((page.heads.at.index(0), looks[0]), (0, None)):
        hand = f"const s = document.getElementById('moment'); s.value = {at}; s.dispatchEvent(new Event('input'));"
        moved = tmp_path / f"{at}.html"
        moved.write_text(
            re.sub(r"<meta http-equiv[^>]*>", "", written).replace("</body>", f"<script>{hand}</script></body>")
        )
        opened = open_page(moved, tmp_path / f"profile {at}")
        assert opened.console == []
        table = re.search(r'<table id="heads">.*?<tbody>(.*?)</tbody>', opened.dom, re.DOTALL)
        assert table is not None
        text = Elements(table[1]).text
        if expected is None:
            assert "No probe sample by then." in opened.dom
            assert text.strip() == ""
        else:
            assert f"Token at position {expected.pos}," in opened.dom
            assert text.endswith(digits(expected.layers[-1].kept))
            first = replace(page, heads=replace(page.heads, tables=page.heads.tables[:1]))
            ours = re.search(r'<table id="heads">.*?<tbody>(.*?)</tbody>', render(first), re.DOTALL)
            assert ours is not None
            assert filled(table[1]) == filled(ours[1])
