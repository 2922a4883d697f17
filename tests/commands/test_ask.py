"""`swachat ask` as a script uses it: docs/reference/ask.md is the contract."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from chatapp.engine.template.fallbacks import CHATML
from chatapp.paths import saved_caches_dir, store_file
from chatapp.store import Store, StoredMessage
from tests.support.program import COMMAND, Ran, first, started, swachat
from tests.support.tiny_models import tiny

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
FIELDS = {
    "reply": str,
    "reasoning": type(None),
    "prompt_tokens": int,
    "reply_tokens": int,
    "reasoning_tokens": int,
    "reused_tokens": int,
    "processed_tokens": int,
    "evicted_tokens": int,
    "shifts": int,
    "n_ctx": int,
    "n_sink": int,
    "policy": str,
    "ttft_s": float,
    "prompt_tok_s": float,
    "decode_tok_s": float,
    "stop_reason": str,
}
COUNT = "Write the numbers from 1 to 500, one a line."
SMALL = ("--model", "starter", "--ctx", "512", "--temp", "0")


def answered(ran: Ran) -> dict[str, Any]:
    """The one JSON object of a run that went well."""
    assert (ran.code, ran.err) == (0, b"")
    assert ran.out.count(b"\n") == 1
    return json.loads(ran.out)


def stored(name: str) -> list[StoredMessage]:
    with Store.open(store_file()) as store:
        session = store.find_session(name)
        assert session is not None
        return store.path(session.id)


# --------------------------------------------------------------------------- what comes out


def test_the_documentation_lists_the_fields_and_the_flags() -> None:
    page = (REFERENCE / "ask.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page.partition("## The JSON object")[2], re.M)) == set(FIELDS)
    shown = set(re.findall(r"--[a-z-]+", swachat("ask", "--help").text)) - {"--help"}
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.M)) == shown


def test_standard_output_is_the_reply_and_nothing_else(tmp_path: Path) -> None:
    """The prompt may be an argument or standard input; the trace goes to its file; --json says the same in fields."""
    trace = tmp_path / "trace.jsonl"
    plain = swachat("ask", "What is the sea?", *SMALL, "--max-tokens", "8", "--trace", str(trace))
    assert (plain.code, plain.err) == (0, b"")
    assert plain.out.endswith(b"\n")

    result = answered(swachat("ask", "-", *SMALL, "--max-tokens", "8", "--json", given=b"What is the sea?"))
    assert {name: type(value) for name, value in result.items()} == FIELDS
    assert result["reply"] + "\n" == plain.text
    assert (result["reply_tokens"], result["stop_reason"]) == (8, "length")
    assert (result["n_ctx"], result["policy"]) == (512, "sinks")
    assert (result["reused_tokens"], result["evicted_tokens"], result["shifts"]) == (0, 0, 0)
    assert result["processed_tokens"] == result["prompt_tokens"] > result["n_sink"] >= 4

    events = [json.loads(line) for line in trace.read_text().splitlines()]
    assert all(isinstance(event["type"], str) and event["at_s"] > 1.7e9 for event in events)
    kinds = [event["type"] for event in events]
    assert [kind for kind in kinds if kind != "Posted"][:2] == ["Trace", "Started"]
    assert [kind for kind in kinds if kind in ("Loaded", "Opened", "TurnStarted", "TurnDone")] == [
        "Loaded",
        "Opened",
        "TurnStarted",
        "TurnDone",
    ]
    assert {"LoadProgress", "Prefilled", "Text", "Snapshot"} <= set(kinds)
    assert "".join(event["text"] for event in events if event["type"] == "Text") == result["reply"]
    assert all(event["mismatch"] is None for event in events if event["type"] == "Snapshot")


def sent(*words: str, given: bytes, trace: Path) -> str:
    """The message that `ask WORDS` sends to the engine."""
    ran = swachat("ask", *words, *SMALL, "--max-tokens", "1", "--trace", str(trace), "--force", given=given)
    assert (ran.code, ran.err) == (0, b"")
    lines = (json.loads(line) for line in trace.read_text().splitlines())
    (command,) = (line["command"] for line in lines if line["type"] == "Posted" and line["command"]["type"] == "Send")
    return command["text"]


def test_a_pipe_follows_the_question(tmp_path: Path) -> None:
    """`cat report.txt | swachat ask "Summarise"` lost the report."""
    trace = tmp_path / "trace.jsonl"
    report = b"\xef\xbb\xbfThe secret word is banana.\n"
    assert sent("Which word?", given=report, trace=trace) == (
        "Which word?\n\n<stdin>\nThe secret word is banana.\n</stdin>"
    )
    assert sent(given=report, trace=trace) == "The secret word is banana.\n"
    assert sent("Which word?", given=b" \n", trace=trace) == "Which word?"


def test_a_pipe_that_nobody_writes_to_is_told_and_not_waited_for() -> None:
    """cron, ssh and programs that start programs leave one."""
    words = ("ask", "Name a colour.", *SMALL, "--max-tokens", "2")
    reading, writing = os.pipe()
    try:
        ran = subprocess.run([*COMMAND, *words], stdin=reading, capture_output=True, timeout=120, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert ran.returncode == 0
    assert ran.stdout.strip()
    waits, goes_on = ran.stderr.decode().splitlines()
    assert "waiting for standard input" in waits
    assert "nothing came on standard input in 10 s" in goes_on


def test_what_is_not_known_is_null() -> None:
    """One token has no decode speed."""
    result = answered(swachat("ask", "Hi", *SMALL, "--max-tokens", "1", "--json"))
    assert (result["reply_tokens"], result["decode_tok_s"]) == (1, None)


def test_flags_reach_the_cache_and_the_sampler() -> None:
    words = ("ask", "Name a colour.", "--model", "starter", "--max-tokens", "6", "--json")
    cache = ("--ctx", "700", "--sinks", "40", "--policy", "window", "--system", "Be brief.")
    window = answered(swachat(*words, *cache, "--seed", "3", "--temp", "1"))
    assert (window["n_ctx"], window["policy"], window["n_sink"]) == (768, "window", 0)
    sinks = answered(swachat(*words, "--ctx", "512", "--sinks", "40", "--seed", "3", "--temp", "1"))
    again = answered(swachat(*words, "--ctx", "512", "--sinks", "40", "--seed", "3", "--temp", "1"))
    other = answered(swachat(*words, "--ctx", "512", "--sinks", "40", "--seed", "4", "--temp", "1"))
    assert sinks["n_sink"] == 40
    assert sinks["reply"] == again["reply"] != other["reply"]


def test_a_prompt_of_many_windows_is_answered() -> None:
    """It streams through, and what passed out of sight is counted."""
    words = ("--model", "starter", "--ctx", "256", "--max-tokens", "4", "--json")
    result = answered(swachat("ask", *words, given=b"one two three four five " * 150))
    assert result["processed_tokens"] == result["prompt_tokens"] > 750
    assert result["evicted_tokens"] > 500
    assert result["shifts"] > 4


def test_no_control_reaches_the_terminal(tmp_path: Path) -> None:
    """A model with random weights says any byte, ESC among them: outside JSON they are pictures, in JSON escapes."""
    noise = (str(tiny("llama", tmp_path)), "--ctx", "512", "--seed", "5", "--temp", "3", "--max-tokens", "400")
    prompt = "\x1b]52;c;ZXZpbA==\x07 \x1b[2J[bold red]"
    told = answered(swachat("ask", prompt, "--model", *noise, "--json"))
    assert re.search("[\x00-\x08\x0b-\x1f]", told["reply"])
    ran = swachat("ask", prompt, "--model", *noise)
    assert ran.code == 0
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", ran.out)
    assert re.search("[␀-␟]", ran.text)


# --------------------------------------------------------------------------- conversations


def test_a_session_goes_on() -> None:
    """With the cache that was kept; without it the conversation is processed again. Either way the reply follows."""
    words = ("--session", "sea talk", *SMALL, "--max-tokens", "8", "--json")
    first = answered(swachat("ask", "My name is Ada.", "--system", "Be brief.", *words))
    assert [(m.turn, m.role, m.state) for m in stored("sea talk")] == [(1, "user", "done"), (1, "assistant", "done")]
    assert stored("sea talk")[1].text == first["reply"]

    second = answered(swachat("ask", "What is my name?", *words))
    assert second["reused_tokens"] == first["prompt_tokens"] + first["reply_tokens"]
    assert second["processed_tokens"] == second["prompt_tokens"]
    assert [m.turn for m in stored("sea talk")] == [1, 1, 2, 2]

    for saved in saved_caches_dir().iterdir():
        saved.unlink()
    third = answered(swachat("ask", "And yours?", *words))
    assert third["reused_tokens"] == 0
    before = second["reused_tokens"] + second["prompt_tokens"] + second["reply_tokens"]
    assert third["processed_tokens"] == before + third["prompt_tokens"]
    assert third["n_sink"] == first["n_sink"]


def test_a_turn_that_was_pinned_in_the_chat_is_pinned_here_too(tmp_path: Path) -> None:
    """Else a script that goes on with a conversation would push out what the person keeps."""
    words = ("--session", "kept", *SMALL, "--max-tokens", "4")
    swachat("ask", "My name is Ada.", *words)
    with Store.open(store_file()) as store:
        store.set_pinned(stored("kept")[0].id, True)
    swachat("ask", "What is my name?", *words, "--trace", str(tmp_path / "trace"))
    events = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
    runs = [run for event in events if event["type"] == "Snapshot" for run in event["runs"] if run["turn"] == 1]
    assert runs
    assert {run["kind"] for run in runs} <= {"pinned", "sink"}
    assert stored("kept")[0].pinned


def test_a_killed_program_has_stored_what_was_said() -> None:
    """kill -9 in the middle of the reply: the message was stored before it was sent, and the reply as it grew."""
    with started("ask", COUNT, *SMALL, "--session", "killed") as program:
        first(program, 10)
        children = psutil.Process(program.pid).children()
        program.kill()
        program.communicate()
    user, reply = stored("killed")
    assert (user.role, user.text, user.state) == ("user", COUNT, "done")
    assert (reply.role, reply.state) == ("assistant", "stopped")
    assert reply.text.startswith("1")
    assert children
    psutil.wait_procs(children, timeout=20)
    assert not [child for child in children if child.is_running()]
    # And the conversation goes on from there.
    result = answered(swachat("ask", "Thank you.", *SMALL, "--session", "killed", "--max-tokens", "2", "--json"))
    assert result["processed_tokens"] > result["prompt_tokens"]


def test_the_last_words_are_stored_although_none_follow_them() -> None:
    """The engine is suspended in the middle of the reply, so that no next word has the last one stored."""
    with started("ask", COUNT, *SMALL, "--session", "silent") as program:
        shown = first(program, 10)
        children = psutil.Process(program.pid).children()
        for child in children:
            child.suspend()
        time.sleep(1.0)
        kept = stored("silent")[-1].text
        program.kill()
        rest, _ = program.communicate()
        for child in children:
            child.kill()
    assert kept == (shown + rest).decode()


def test_ctrl_c_stops_the_reply_and_keeps_what_came() -> None:
    with started("ask", COUNT, *SMALL, "--session", "stopped") as program:
        shown = first(program, 20)
        program.send_signal(signal.SIGINT)
        rest, err = program.communicate(timeout=60)
    assert (program.returncode, err) == (130, b"")
    _, reply = stored("stopped")
    assert reply.state == "stopped"
    assert reply.text + "\n" == (shown + rest).decode()
    assert reply.stats is not None
    assert reply.stats["stop_reason"] == "cancelled"


def test_ctrl_c_before_the_first_word_is_one_line() -> None:
    """While the model is loaded or the prompt is processed."""
    with started("ask", "word " * 3000, *SMALL) as program:
        while not (children := psutil.Process(program.pid).children()):
            pass
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert out == b""
    assert err in (b"", b"swachat: interrupted\n")
    psutil.wait_procs(children, timeout=20)
    assert not [child for child in children if child.is_running()]


def test_a_reader_that_leaves_ends_the_program_quietly() -> None:
    """`swachat ask ... | head -c 10`: no traceback, and what came is stored."""
    with started("ask", COUNT, *SMALL, "--session", "piped") as program:
        assert program.stdout is not None
        assert program.stderr is not None
        first(program, 10)
        program.stdout.close()
        err = program.stderr.read()
        code = program.wait(timeout=60)
    assert (code, err) == (141, b"")
    user, reply = stored("piped")
    assert (user.text, reply.state) == (COUNT, "stopped")
    assert len(reply.text) >= 10


# --------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ctx", "many"], 'cache.ctx must be a whole number from 256 to 2147483647 or max, not "many"'),
        (["--contxt", "512"], "unrecognized arguments: --contxt 512"),
        (["--ctx", "10"], "256"),
        (["--policy", "hope"], "sinks"),
        (["--max-tokens", "0"], "max_tokens"),
        (["--temp", "-1"], "temperature"),
        (["--seed", "-1"], "seed"),
        (["--model", "startre"], "Did you mean starter?"),
        (["--model", "/no/such/model.gguf"], "There is no file /no/such/model.gguf"),
        (["--config", "/no/such/config.yaml"], "/no/such/config.yaml"),
        (["--trace", "/no/such/folder/trace"], "The trace file /no/such/folder/trace cannot be written"),
        (["--ctx", "900000000"], "--ctx "),
    ],
)
def test_a_mistake_is_one_clear_line(words: list[str], said: str) -> None:
    ran = swachat("ask", "Hello", *words)
    assert (ran.code, ran.out) == (2, b"")
    assert said in ran.complaint


@pytest.mark.parametrize(
    ("prompt", "given", "said"),
    [
        ("", b"", "The prompt is empty"),
        (" \n", b"", "The prompt is empty"),
        ("-", b"\xff\xfe", "Standard input is not valid UTF-8 (byte 0 is 0xff)"),
        (b"\xff", b"", "is not valid UTF-8"),
        ("-", b"", "The prompt is empty"),
    ],
)
def test_a_prompt_that_is_none_is_one_clear_line(prompt: str | bytes, given: bytes, said: str) -> None:
    ran = swachat("ask", prompt, *SMALL, given=given)
    assert (ran.code, ran.out) == (2, b"")
    assert said in ran.complaint


def test_a_window_larger_than_memory_is_refused_with_the_largest_that_fits() -> None:
    ran = swachat("ask", "Hello", "--model", "starter", "--ctx", "900000000")
    assert ran.code == 2
    assert re.fullmatch(
        r"swachat: A window of 900000000 tokens needs [\d.]+ [GT]iB \(.*\); memory has [\d.]+ [MG]iB free\. "
        r"The largest window that fits is --ctx \d+\.",
        ran.complaint,
    )


def test_a_model_that_cannot_be_run_is_exit_code_3(tmp_path: Path) -> None:
    """Truncated, no GGUF at all, an architecture that llama.cpp does not know: which file, what, what to do."""
    whole = tiny("llama", tmp_path).read_bytes()
    broken = {
        "short.gguf": whole[: len(whole) - 1000],
        "head.gguf": whole[:100],
        "empty.gguf": b"",
        "picture.gguf": b"\x89PNG\r\n\x1a\n" + b"\x00" * 5000,
        "strange.gguf": whole.replace(b"llama", b"lluma"),
    }
    for name, data in broken.items():
        path = tmp_path / name
        path.write_bytes(data)
        ran = swachat("ask", "Hello", "--model", str(path))
        assert (name, ran.code, ran.out) == (name, 3, b"")
        assert str(path) in ran.complaint


def test_dense_that_is_full_says_so() -> None:
    """A prompt that does not fit is refused; a reply that fills the window is kept."""
    words = ("--model", "starter", "--ctx", "256", "--policy", "dense", "--temp", "0")
    ran = swachat("ask", "word " * 400, *words)
    assert (ran.code, ran.out) == (2, b"")
    assert b"The prompt does not fit in the window." in ran.err
    full = swachat("ask", COUNT, *words, "--json")
    assert full.code == 0
    assert json.loads(full.out)["stop_reason"] == "window_full"
    assert b"the window of 256 tokens is full" in full.err


def test_files_are_private() -> None:
    """The store and the log hold conversations."""
    answered(swachat("ask", "Hi", *SMALL, "--session", "private", "--max-tokens", "1", "--json"))
    assert store_file().stat().st_mode & 0o777 == 0o600
    assert os.stat(store_file().parent).st_mode & 0o777 == 0o700


def test_thoughts_end_after_their_budget_and_are_not_printed(tmp_path: Path) -> None:
    template = tmp_path / "thinks.jinja"
    template.write_text(CHATML.replace("assistant\n'", "assistant\n<think>\n'"))
    words = (*SMALL, "--chat-template", str(template), "--max-tokens", "16", "--think-budget", "4")
    ran = swachat("ask", "What is the sea?", *words)
    assert (ran.code, ran.err) == (0, b"")
    assert ran.text.strip()
    assert "think>" not in ran.text
    result = answered(swachat("ask", "--json", "What is the sea?", *words))
    assert (result["reply"] + "\n", result["reply_tokens"]) == (ran.text, 16)


# --------------------------------------------------------------------------- many prompts


def test_each_line_of_a_file_gets_a_reply_of_its_own(tmp_path: Path) -> None:
    """The same that it gets alone; blank lines are none, and the order is told by the numbers."""
    file = tmp_path / "prompts.txt"
    file.write_text("What is the sea?\n\nSay hello.\nName a colour.\n")
    ran = swachat("ask", "--each", str(file), "--at-once", "2", *SMALL, "--max-tokens", "6", "--json")
    assert (ran.code, ran.err) == (0, b"")
    replies = [json.loads(line) for line in ran.text.splitlines()]
    assert sorted(reply["number"] for reply in replies) == [1, 2, 3]
    by_prompt = {reply["prompt"]: reply for reply in replies}
    assert [by_prompt["Say hello."][name] for name in ("number", "reply_tokens", "stop_reason")] == [2, 6, "length"]
    alone = answered(swachat("ask", "What is the sea?", *SMALL, "--max-tokens", "6", "--json"))
    assert by_prompt["What is the sea?"]["reply"] == alone["reply"]


def test_a_prompt_that_the_template_refuses_fails_alone(tmp_path: Path) -> None:
    template, file = tmp_path / "picky.jinja", tmp_path / "prompts.txt"
    template.write_text(
        "{% for m in messages %}{% if 'sea' in m['content'] %}{{ raise_exception('No sea') }}{% endif %}"
        "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    file.write_text("What is the sea?\nSay hello.\nThe sea again.\nName a colour.\n")
    words = (
        "ask",
        "--each",
        str(file),
        "--at-once",
        "2",
        *SMALL,
        "--max-tokens",
        "6",
        "--chat-template",
        str(template),
    )
    ran = swachat(*words, "--json")
    assert ran.code == 3
    rows = {row["number"]: row for row in map(json.loads, ran.text.splitlines())}
    assert [(number, row["stop_reason"], row["reply_tokens"]) for number, row in sorted(rows.items())] == [
        (1, "error", 0),
        (2, "length", 6),
        (3, "error", 0),
        (4, "length", 6),
    ]
    assert "No sea" in rows[1]["error"]
    assert rows[2]["error"] is None
    shown = swachat(*words)
    assert shown.code == 3
    assert f"[1] What is the sea?\nNot answered. {rows[1]['error']}\n" in shown.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Hello", "--each", "-"), "--each takes its prompts from the file. Omit PROMPT and --session."),
        (("--each", "nowhere.txt"), "nowhere.txt cannot be read: No such file or directory. Name a text file."),
        (("--each", "-", "--at-once", "0"), "--at-once 0 is not between 1 and 16."),
        (("--each", "-"), "- contains no prompts. Write one per line."),
    ],
)
def test_a_mistake_with_each_is_told_in_one_line(words: tuple[str, ...], said: str) -> None:
    ran = swachat("ask", *words, given=b"\n")
    assert ran.code == 2
    assert ran.err.decode().startswith(f"swachat: {said}")
