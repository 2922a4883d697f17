"""A conversation of a million tokens: does anything drift, leak or slow down?

Usage: python -m benchmarks.soak [MODEL:TOKENS ...] [--ctx N] [--policy P] [--threads N] [--no-witness]

MODEL is a name of tests/support/tiny_models.py, or whatever `swachat` takes. The same course of turns is gone through
again and again: questions of a few words, pages, a paste longer than the window, replies of 1 to 200 tokens, another
reply, a turn taken back. Every course is the same work, so what costs more at the end than at the beginning has grown.

- Mismatches: at every decode the ledger is held against the position in each of llama.cpp's cells (benchmarks/witness);
  after every turn the snapshot must say that ledger and llama.cpp agree. Any mismatch ends the run with exit code 1.
- Time is processor time of this process, with one thread for llama.cpp by default: another program on the machine then
  takes little of it, and no thread spins while it waits for another. The figure of a tenth of the run is the median of
  its courses; the smallest is printed beside it, for noise only ever adds. The witness's own Python is left out; the
  lines that llama.cpp prints for it are not, so run with --no-witness for times to quote.
- Memory is the resident size of this process, engine and benchmark together, at the end of each course. The engine
  keeps the conversation as text, so that a turn can be brought back; `memory_but_text` is what grew besides.

The last tenth is compared with the second: the first one warms up and fills the window.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import psutil

from benchmarks.shared import private_home, table
from benchmarks.witness import MOST_PROBLEMS, Witness
from chatapp import models
from chatapp.engine import llama
from chatapp.engine.llama import Model
from chatapp.engine.protocol import (
    AnyCommand,
    AnyEvent,
    CacheSettings,
    EngineSettings,
    Evicted,
    Load,
    Message,
    Open,
    Prefilled,
    Regenerate,
    Sampling,
    Send,
    Snapshot,
    Text,
    TurnDone,
    TurnStarted,
    Undo,
)
from chatapp.engine.resident import Resident
from chatapp.engine.worker import Pipe, Worker
from tests.engine.support import english
from tests.support.tiny_models import NAMES, tiny

RUNS = ["llama:1000000", "starter:100000"]
SYSTEM = "You are a patient librarian who answers in short, plain sentences."
COURSE = ((12, 40), (30, 120), (8, 20), (90, 60), (20, 200), (250, 80), (15, 1), (45, 150), (6, 30), (700, 50))
"""Tokens of each message, about, and the longest reply to it."""
ANOTHER_REPLY_TO, TAKEN_BACK = 3, 7
"""Places in the course."""
N_TENTHS = 10


@dataclass(frozen=True)
class Course:
    """What one course cost: tokens, seconds of processor time, and at its end the resident bytes of the process, the
    conversation's own text (`text_bytes`) among them.
    """

    prompt_tok: int
    prompt_s: float
    reply_tok: int
    reply_s: float
    resident_bytes: int
    text_bytes: int

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""
        return self.prompt_tok + self.reply_tok


@dataclass
class Outcome:
    """What a run found. `checks` counts comparisons with llama.cpp's cells, `turns` those with its own extent."""

    courses: list[Course] = field(default_factory=list[Course])
    turns: int = 0
    checks: int = 0
    evictions: int = 0
    most_runs: int = 0
    """The most pieces that the ledger was ever made of."""
    most_gone: int = 0
    """The most evicted turns that it knew one by one."""
    problems: list[str] = field(default_factory=list[str])

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""
        return sum(course.tokens for course in self.courses)


class Meter(Pipe):
    """Stands in for the pipe of the engine process: takes the events, and the processor time between them.

    `spent` is time that counts for nobody.
    """

    def __init__(self) -> None:
        super().__init__(-1, -1)
        self.spent = 0.0
        self.prompt_ends = 0.0
        self.evictions = 0
        self.reply: list[str] = []
        self.done: TurnDone | None = None
        self.snapshot: Snapshot | None = None

    def now(self) -> float:
        """Seconds of processor time."""
        return time.process_time() - self.spent

    def cancelled(self) -> bool:
        """Nobody cancels."""
        return False

    def emit(self, event: AnyEvent) -> None:
        """One event."""
        match event:
            case Prefilled(done=done, total=total) if done == total:
                self.prompt_ends = self.now()
            case Evicted():
                self.evictions += 1
            case TurnStarted():
                self.reply = []
            case Text(text=text):
                self.reply.append(text)
            case TurnDone():
                self.done = event
            case Snapshot():
                self.snapshot = event
            case _:
                pass


class Engine(Worker):
    """The engine process's own work, in this process: commands in, events to the meter."""

    def do(self, command: AnyCommand) -> None:
        """One command; what the engine would report as Failed is raised."""
        self._do(command)

    @property
    def model(self) -> Model:
        """The model that was loaded."""
        assert self._model is not None
        return self._model

    @property
    def resident(self) -> Resident:
        """The cache and its ledger."""
        assert self._session is not None
        return self._session.resident

    def close(self) -> None:
        """Give all memory back."""
        self._unload()


class Patient(Witness):
    """A witness that tells the meter what it took."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def hear(self, text: bytes) -> None:
        """One message of the log."""
        began = time.process_time()
        super().hear(text)
        self._meter.spent += time.process_time() - began


class Conversation:
    """A conversation that is taken through course after course."""

    def __init__(self, engine: Engine, meter: Meter, outcome: Outcome) -> None:
        self._engine, self._meter, self._outcome = engine, meter, outcome
        tokenize = engine.model.tokenize
        self._words = [(word, len(tokenize(f" {word}", special=False))) for word in english(20_000).split()]
        self._turn = self._word = 0
        self._text_bytes = self._turn_bytes = 0
        self._prompt_tok = self._reply_tok = 0
        self._prompt_s = self._reply_s = 0.0

    def course(self) -> Course:
        """One course."""
        before = self._prompt_tok, self._prompt_s, self._reply_tok, self._reply_s
        for place, (size, longest) in enumerate(COURSE):
            self._turn += 1
            text, sampling = self._text(size), Sampling(seed=self._turn, max_tokens=longest)
            self._reply(Send(turn=self._turn, text=text, sampling=sampling))
            self._keep(text)
            if place == ANOTHER_REPLY_TO:
                self._reply(Regenerate(turn=self._turn, sampling=sampling))
                self._text_bytes -= self._turn_bytes
                self._keep(text)
            if place == TAKEN_BACK:
                self._engine.do(Undo(turn=self._turn))
                self._text_bytes -= self._turn_bytes
                self._turn -= 1
                self._check()
        after = self._prompt_tok, self._prompt_s, self._reply_tok, self._reply_s
        prompt_tok, prompt_s, reply_tok, reply_s = (now - then for now, then in zip(after, before, strict=True))
        resident_bytes = psutil.Process().memory_info().rss
        return Course(int(prompt_tok), prompt_s, int(reply_tok), reply_s, resident_bytes, self._text_bytes)

    def _reply(self, command: Send | Regenerate) -> None:
        began = self._meter.now()
        self._engine.do(command)
        ended = self._meter.now()
        done = self._meter.done
        assert done is not None
        self._prompt_tok += done.stats.processed_tokens
        self._reply_tok += done.stats.reply_tokens
        self._prompt_s += self._meter.prompt_ends - began
        self._reply_s += ended - self._meter.prompt_ends
        self._check()

    def _keep(self, text: str) -> None:
        """Count what Python needs to hold the turn's two messages."""
        reply = "".join(self._meter.reply)
        held = (text, reply, *(Message(turn=self._turn, role="user", text=each) for each in (text, reply)))
        self._turn_bytes = sum(sys.getsizeof(each) for each in held)
        self._text_bytes += self._turn_bytes

    def _text(self, size: int) -> str:
        taken: list[str] = []
        while size > 0:
            word, count = self._words[self._word % len(self._words)]
            self._word += 1
            taken.append(word)
            size -= count
        return " ".join(taken)

    def _check(self) -> None:
        """What the snapshot says, and how large the ledger is."""
        outcome, snapshot, ledger = self._outcome, self._meter.snapshot, self._engine.resident.ledger
        assert snapshot is not None
        outcome.turns += 1
        outcome.most_runs = max(outcome.most_runs, len(ledger.runs))
        outcome.most_gone = max(outcome.most_gone, len(ledger.gone))
        problem = snapshot.mismatch
        if problem is None and snapshot.n_used != ledger.n_tokens:
            problem = f"the snapshot shows {snapshot.n_used} tokens, the ledger has {ledger.n_tokens}"
        if problem is not None and len(outcome.problems) < MOST_PROBLEMS:
            outcome.problems.append(problem)


def soak(path: Path, tokens: int, cache: CacheSettings, *, threads: int = 1, witness: bool = True) -> Outcome:
    """Take a conversation through whole courses until `tokens` have gone through the model, or something is wrong."""
    outcome, told = Outcome(), 0
    llama.init()
    meter = Meter()
    engine, listener = Engine(meter), Patient(meter)
    with listener.installed() if witness else nullcontext():
        engine.do(Load(path=str(path), cache=cache, engine=EngineSettings(threads=threads)))
        listener.resident = engine.resident
        engine.do(Open(system=SYSTEM, messages=[]))
        chat = Conversation(engine, meter, outcome)
        while outcome.tokens < tokens and not outcome.problems:
            outcome.courses.append(chat.course())
            outcome.problems += listener.problems
            if outcome.tokens * N_TENTHS // tokens > told:
                told = outcome.tokens * N_TENTHS // tokens
                print(f"{path.stem}: {outcome.tokens} of {tokens} tokens", file=sys.stderr, flush=True)
        engine.close()
    outcome.checks, outcome.evictions = listener.checks, meter.evictions
    return outcome


@dataclass(frozen=True)
class Tenth:
    """A tenth of a run: ms of processor time for a token (median of its courses, and smallest), and memory."""

    tenth: int
    courses: int
    tokens: int
    prompt_ms: float
    reply_ms: float
    token_ms: float
    smallest_ms: float
    resident_mb: float
    text_mb: float


def tenths(courses: Sequence[Course]) -> list[Tenth]:
    """The courses in ten parts; those that ten does not divide are left out at the front."""
    size = len(courses) // N_TENTHS
    first = len(courses) - N_TENTHS * size
    found: list[Tenth] = []
    for i in range(N_TENTHS if size else 0):
        part = courses[first + i * size : first + (i + 1) * size]
        each = [(course.prompt_s + course.reply_s) / course.tokens * 1000 for course in part]
        found.append(
            Tenth(
                tenth=i + 1,
                courses=size,
                tokens=sum(course.tokens for course in part),
                prompt_ms=median(course.prompt_s / course.prompt_tok for course in part) * 1000,
                reply_ms=median(course.reply_s / course.reply_tok for course in part) * 1000,
                token_ms=median(each),
                smallest_ms=min(each),
                resident_mb=median(course.resident_bytes for course in part) / 1e6,
                text_mb=median(course.text_bytes for course in part) / 1e6,
            )
        )
    return found


def summary(name: str, outcome: Outcome, parts: Sequence[Tenth], wall_s: float) -> dict[str, object]:
    """The run in one line: the last tenth against the second, None where the run was too short for tenths."""

    def grown(figure: Callable[[Tenth], float]) -> float | None:
        return figure(parts[-1]) / figure(parts[1]) if parts else None

    return {
        "model": name,
        "tokens": outcome.tokens,
        "turns": outcome.turns,
        "evictions": outcome.evictions,
        "cell_checks": outcome.checks,
        "mismatches": len(outcome.problems),
        "time": grown(lambda tenth: tenth.token_ms),
        "smallest_time": grown(lambda tenth: tenth.smallest_ms),
        "prompt_time": grown(lambda tenth: tenth.prompt_ms),
        "reply_time": grown(lambda tenth: tenth.reply_ms),
        "memory": grown(lambda tenth: tenth.resident_mb),
        "memory_but_text": grown(lambda tenth: tenth.resident_mb - tenth.text_mb),
        "ledger_runs": outcome.most_runs,
        "ledger_gone": outcome.most_gone,
        "wall_s": wall_s,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code: 1 where anything did not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=RUNS, metavar="MODEL:TOKENS", help=f"default: {' '.join(RUNS)}")
    parser.add_argument("--ctx", type=int, default=512, help="window in tokens (512)")
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="llama.cpp's threads (1)")
    parser.add_argument("--no-witness", action="store_true", help="without llama.cpp's own list of cells: for times")
    args = parser.parse_args(argv)
    cache = CacheSettings(n_ctx=args.ctx, policy=args.policy)
    rows: list[dict[str, object]] = []
    details: list[list[dict[str, object]]] = []
    with private_home() as home:
        for run in args.runs:
            name, _, tokens = run.rpartition(":")
            path = tiny(name, home) if name in NAMES else models.resolve(name)
            began = time.perf_counter()
            outcome = soak(path, int(tokens), cache, threads=args.threads, witness=not args.no_witness)
            for problem in outcome.problems:
                print(f"{name}: after {outcome.tokens} tokens: {problem}", file=sys.stderr)
            parts = tenths(outcome.courses)
            print(f"{name}, window {args.ctx}")
            if parts:
                table([asdict(part) for part in parts])
            rows.append(summary(name, outcome, parts, time.perf_counter() - began))
            details.append([asdict(part) for part in parts])
    table(rows)
    full = [{**row, "tenths": parts} for row, parts in zip(rows, details, strict=True)]
    print(json.dumps({"benchmark": "soak", "n_ctx": args.ctx, "witness": not args.no_witness, "rows": full}))
    return 1 if any(row["mismatches"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
