"""Theme files that are damaged: skipped and told in one line each, and the others can be used."""

from pathlib import Path

from chatapp.paths import data_dir
from chatapp.ui.themes import load_themes
from tests.robustness.tries import Try, tries

VALUES = (
    "[]",
    "{}",
    "null",
    "1",
    "yes",
    '"#12345"',
    '"red 50%"',
    '"auto"',
    "ansi_red",
    "x" * 5000,
    '"a\\nb"',
    "&a b",
    "*a",
)


def damaged(attempt: Try, text: str) -> bytes:
    """A theme with a line or a byte changed."""
    lines = text.splitlines()
    at = attempt.randrange(len(lines))
    match attempt.choice(["value", "value", "drop", "twice", "byte"]):
        case "value":
            lines[at] = f"{lines[at].partition(':')[0]}: {attempt.choice(VALUES)}"
        case "drop":
            del lines[at]
        case "twice":
            lines.insert(at, lines[attempt.randrange(len(lines))])
        case _:
            data = bytearray(text.encode())
            data[attempt.randrange(len(data))] = attempt.randrange(256)
            return bytes(data)
    return "\n".join(lines).encode()


def test_a_damaged_theme_is_skipped_and_told(tmp_path: Path) -> None:
    shipped = sorted((data_dir() / "themes").glob("*.yaml"))
    texts = [file.read_text("utf-8") for file in shipped]
    (tmp_path / "a-good.yaml").write_text(texts[0])
    bad = tmp_path / "bad\n\x1b[2J.yaml"
    for attempt in tries("themes", 200):
        bad.write_bytes(damaged(attempt, attempt.choice(texts[1:])))
        themes, problems = load_themes([tmp_path])
        assert themes, str(attempt)
        assert (len(themes) == 2) != bool(problems), (str(attempt), problems)
        for problem in problems:
            assert "\n" not in problem, str(attempt)
            assert "\x1b" not in problem, str(attempt)
            assert len(problem) < 2100, str(attempt)
