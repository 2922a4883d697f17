"""Settings files that are damaged, hostile or huge: checked in time, and each problem is one line."""

import time
from pathlib import Path

import pytest

from chatapp.cli import main
from chatapp.config import example_yaml
from tests.robustness.tries import Try, tries

LONGEST_S = 5.0
"""For a megabyte on a busy machine; the file of lists took 34 s."""
SCRAPS = (
    "&a",
    "*a",
    "!!python/object:os.system",
    "? ",
    ": ",
    "- ",
    "[",
    "{",
    "]",
    "}",
    "|\n",
    ">\n",
    "---\n",
    "%TAG ! x\n",
    "\t",
    "\x00",
    "\x1b[2J",
    "\u202e",
    "\ufeff",
    "1e999",
    ".nan",
    ".inf",
    "-.inf",
    "9" * 400,
    "1" + ":1" * 200,
    "<<: ",
    "null",
    "x" * 3000,
    "\n" * 50,
    '"',
    "'",
    "\\",
    "2026-01-01",
    "yes",
    "0x1F",
    "0b1",
    "~",
    "=",
    "\ud800",
)


def damaged(attempt: Try) -> bytes:
    """The example file with a few pieces changed."""
    text = example_yaml()
    for _ in range(attempt.choice([1, 1, 2, 5])):
        at = attempt.randrange(len(text))
        match attempt.choice(["scrap", "scrap", "cut", "value", "copy"]):
            case "scrap":
                text = text[:at] + attempt.choice(SCRAPS) + text[at:]
            case "cut":
                text = text[:at] + text[at + attempt.randrange(200) :]
            case "copy":
                text = text[:at] + text[attempt.randrange(len(text)) :][:200] + text[at:]
            case _:
                line_end = text.find("\n", at)
                line_start = text.rfind(": ", 0, line_end)
                text = text[: line_start + 2] + attempt.choice(SCRAPS) + text[line_end:]
    data = bytearray(text.encode(errors="surrogatepass"))
    if attempt.random() < 0.2:
        data[attempt.randrange(len(data))] = attempt.randrange(256)
    return bytes(data)


def checked(file: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that `config check` says of the file."""
    code = main(["config", "check", str(file)])
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert code == (2 if lines else 0)
    assert bool(out) != bool(lines)
    return lines


def test_a_damaged_file_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    for attempt in tries("configs", 200):
        file.write_bytes(damaged(attempt))
        for line in checked(file, capsys):
            assert line.startswith(str(file)), (str(attempt), line)
            assert len(line) < 2100, str(attempt)
            assert "\x1b" not in line, str(attempt)


@pytest.mark.parametrize(
    "text",
    [
        "a: [" + "a," * 500_000 + "]",
        "".join(f"k{i}: 1\n" for i in range(60_000)),
        "[" * 1_000_000,
        "system: " + "a b " * 250_000,
        "a: 1" + ":1" * 500_000,
        "cache:\n" + "".join(f"  ctx{i}: 1\n" for i in range(950)),
    ],
    ids=["list", "keys", "brackets", "text", "sexagesimal", "unknown"],
)
def test_a_megabyte_takes_seconds(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    began_s = time.process_time()
    checked(file, capsys)
    assert time.process_time() - began_s < LONGEST_S
