"""The `swachat` command as such: help, unknown words, and how anything that goes wrong is told."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from chatapp import __version__, cli
from chatapp.errors import ConfigError, EngineError, ModelError, StoreError, SwachatError, UserError
from tests.support.program import COMMAND, swachat


def test_help_lists_every_command_and_each_has_its_own() -> None:
    ran = swachat("--help")
    assert (ran.code, ran.err) == (0, b"")
    for name, what in cli.COMMANDS.items():
        assert f"  {name:<12}{what}" in ran.text
        own = swachat(name, "--help")
        assert (own.code, own.err) == (0, b"")
        assert f"usage: swachat {name}" in own.text


def test_version() -> None:
    assert swachat("--version").text == f"swachat {__version__}\n"


@pytest.mark.parametrize("words", [["--colour"], ["ask", "--no-such", "x"], ["models", "frobnicate"], ["config"]])
def test_an_unknown_word_is_one_line(words: list[str]) -> None:
    ran = swachat(*words)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.complaint.endswith("--help.")


def test_a_flag_may_not_be_shortened() -> None:
    """A script that works today must not change its meaning when a flag is added."""
    assert "unrecognized arguments: --max 3" in swachat("ask", "Hi", "--max", "3").complaint


def raising(error: BaseException) -> Any:
    def run(_: object) -> int:
        raise error

    return SimpleNamespace(__doc__="", add_arguments=lambda _: None, run=run)  # pyright: ignore[reportUnknownLambdaType]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("No.", "Do this."), 2, "swachat: No. Do this.\n"),
        (ConfigError("file:3: key: no."), 2, "swachat: file:3: key: no.\n"),
        (StoreError("Locked."), 2, "swachat: Locked.\n"),
        (ModelError("\x1b[2Jevil.gguf: no."), 3, "swachat: ␛[2Jevil.gguf: no.\n"),
        (EngineError("It ended."), 3, "swachat: It ended.\n"),
        (SwachatError("Other."), 1, "swachat: Other.\n"),
        (KeyboardInterrupt(), 130, "swachat: interrupted\n"),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And one line on standard error, in which nothing is obeyed by the terminal."""

    def import_module(_: str) -> Any:
        return raising(error)

    monkeypatch.setattr(cli, "import_module", import_module)
    assert cli.main(["doctor"]) == code
    assert capsys.readouterr() == ("", line)


def test_an_argument_that_is_no_text_is_one_line() -> None:
    assert "is not valid UTF-8" in swachat("doctor", b"/models/\xff.gguf").complaint


def test_a_terminal_that_cannot_show_a_character_is_no_reason_to_fail() -> None:
    ran = subprocess.run(
        [*COMMAND, "models", "path", "stärter"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert ran.returncode == 2
    assert b"st\\xe4rter" in ran.stderr


def test_the_command_loads_nothing_heavy() -> None:
    """Help is fast: neither llama.cpp nor Textual nor NumPy is imported before it is needed."""
    code = "import sys, chatapp.cli; print(sorted({'llama_cpp', 'textual', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
