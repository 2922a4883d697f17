"""How soon a search finds something among half a million messages, and how soon it can be stopped.

    .venv/bin/python -m benchmarks.search [--messages N]

The database is generated in a temporary folder: words are as frequent as in a language (Zipf), so "w" stands in most
messages and a rare word in a few. Each text is searched on a new connection: the first hits (ms), all that the dialog
considers (1,000 at most), and how long it takes from `stop` to the end of a search.
"""

import argparse
import itertools
import random
import tempfile
import threading
import time
from pathlib import Path

from chatapp.store import Store

WORDS = 20_000
OF_ONE = 500
"""Messages of a conversation."""
LIMIT = 1_000
SEARCHED = ("w", "wa", "th", "the w", "was w", "zanzibar", "zanzibar w", "zan", "e0", "nothingofthekind")


def generate(file: Path, messages: int) -> None:
    """Conversations with `messages` messages of about 60 words."""
    chance = random.Random(1)
    letters = "etaoinshrdlcumwfgypbvkjxqz"
    words = ["the", "w", "was", "with", "what"]
    words += ["".join(chance.choices(letters, weights=range(26, 0, -1), k=chance.randint(2, 9))) for _ in range(WORDS)]
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    with Store.open(file):
        pass
    import sqlite3

    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    for session in range(1, messages // OF_ONE + 1):
        db.execute(
            "INSERT INTO session (id, model, settings, created_at, updated_at, written) VALUES (?, 'm', '{}', 1, 1, ?)",
            (session, session),
        )
        rows: list[tuple[int, int, str, str]] = []
        for turn in range(1, OF_ONE + 1):
            text = " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(5, 60)))
            if chance.random() < 0.0001:
                text += " zanzibar"
            rows.append((session, turn, "user" if turn % 2 else "assistant", text))
        db.executemany(
            "INSERT INTO message (session_id, turn, role, text, state, created_at) VALUES (?, ?, ?, ?, 'done', 1)", rows
        )
    db.execute("COMMIT")
    db.close()


def measure(store: Store, text: str) -> tuple[float, float, int]:
    """Milliseconds to the first hits and to the last, and how many there are."""
    search = store.searching()
    began = time.perf_counter()
    first, found = 0.0, 0
    for hits in search.find(None, text, LIMIT):
        first = first or time.perf_counter() - began
        found += len(hits)
    whole = time.perf_counter() - began
    search.close()
    return (first or whole) * 1000, whole * 1000, found


def stopping(store: Store, text: str, after_s: float) -> float:
    """Milliseconds from `stop` to the end of the search."""
    search = store.searching()
    begun, ended = threading.Event(), threading.Event()

    def find() -> None:
        for _ in search.find(None, text, 10**9):
            begun.set()
        ended.set()

    thread = threading.Thread(target=find)
    thread.start()
    begun.wait()
    time.sleep(after_s)
    began = time.perf_counter()
    search.stop()
    ended.wait()
    thread.join()
    search.close()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=510_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "swachat.db")
        began = time.perf_counter()
        generate(file, args.messages)
        size = file.stat().st_size / 2**20
        print(f"{args.messages:,} messages, {size:,.0f} MiB, generated in {time.perf_counter() - began:.0f} s")
        with Store.open(file) as store:
            print(f"{'text':20} {'first ms':>9} {'all ms':>9} {'hits':>6}")
            for text in SEARCHED:
                first, whole, found = measure(store, text)
                print(f"{text:20} {first:9.0f} {whole:9.0f} {found:6,}")
            for after_s in (0.05, 0.5, 1.5):
                print(f"stopped after {after_s:.2f} s: ended {stopping(store, 'w', after_s):.0f} ms later")


if __name__ == "__main__":
    main()
