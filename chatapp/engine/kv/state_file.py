"""A saved cache on disk, with which a conversation continues without a prefill.

A file holds a header (what it belongs to, and the ledger) and llama.cpp's own state of the sequence, both under one
checksum. It is only a shortcut: where anything differs or is damaged, the conversation is processed again.
"""

import os
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import msgspec

from chatapp.cache.ledger import CellKind, EvictedTurn, Ledger, Run
from chatapp.engine.interrupts import CancelledError
from chatapp.protocol.values import CacheSettings, Message

MAGIC = b"swachat cache 5\n"
DIGEST_BYTES = 32
SAMPLE_BYTES = 1 << 16
SAMPLES = 64
PIECE_BYTES = 1 << 24
"""What is hashed and written, or read, between two looks at whether it is to stop: some 30 ms."""
DAMAGED = "the saved cache is damaged"
ROLES = ("system", "user", "assistant")
MOST_POSITIONS = 2**31
"""llama.cpp counts positions in 32 bits."""
MOST_COUNTED = 2**53
"""Tokens evicted in a conversation of years."""


class StateError(Exception):
    """The file cannot be used; the message says why, as a clause."""


class SavedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the ledger."""

    turn: int
    role: str
    kind: str
    pos: int
    tokens: list[int]
    opening: int
    lost: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the state belongs to. The state is used only where all of it is equal."""

    model: str
    settings: str
    conversation: str
    runs: list[SavedRun]
    gone: list[tuple[int, int]]
    evicted_tokens: int
    closed: bool
    """Whether the markup that closes the last reply is in the cache."""


def model_digest(path: Path) -> str:
    """A hash of a model file: its size, and 64 pieces of it spread evenly, the first and the last among them.

    Hashing all of a 20 GB file would take longer than a prefill.
    """
    size = path.stat().st_size
    digest = blake2b(str(size).encode(), digest_size=DIGEST_BYTES)
    with path.open("rb") as file:
        for i in range(SAMPLES):
            file.seek(max(0, (size - SAMPLE_BYTES) * i // (SAMPLES - 1)))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def settings_digest(cache: CacheSettings, policy: str, llama_cpp: str, template: str) -> str:
    """A hash of the settings that determine the cache's content and layout; `template` is the chat template's."""
    layout = (cache.n_ctx, cache.sinks, policy, cache.swa_full, cache.type_k, cache.type_v, cache.micro_batch)
    return _digest((layout, llama_cpp, template))


def conversation_digest(system: str | None, messages: Sequence[Message]) -> str:
    """A hash of the conversation, word for word."""
    return _digest((system, [(said.turn, said.role, said.text) for said in messages]))


def _digest(value: object) -> str:
    return blake2b(msgspec.msgpack.encode(value), digest_size=DIGEST_BYTES).hexdigest()


def header(model: str, settings: str, conversation: str, ledger: Ledger, *, closed: bool) -> Header:
    """The header of a state to be saved."""
    return Header(
        model=model,
        settings=settings,
        conversation=conversation,
        runs=[
            SavedRun(
                turn=run.turn,
                role=run.role,
                kind=str(run.kind),
                pos=run.pos,
                tokens=list(run.tokens),
                opening=run.opening,
                lost=run.lost,
            )
            for run in ledger.runs
        ],
        gone=[(gone.turn, gone.tokens) for gone in ledger.gone],
        evicted_tokens=ledger.evicted_tokens,
        closed=closed,
    )


def ledger_of(saved: Header, turns: Collection[int], *, n_vocab: int, n_ctx: int) -> Ledger:
    """The ledger that a header describes. StateError where it is none that a conversation of these turns can have with
    this model in this window: a checksum says only that the file is as it was written.
    """
    runs = tuple(
        Run(run.turn, run.role, _kind(run.kind), run.pos, tuple(run.tokens), run.opening, run.lost)
        for run in saved.runs
    )
    ledger = Ledger(runs, tuple(EvictedTurn(turn, tokens) for turn, tokens in saved.gone), saved.evicted_tokens)
    known = {0, *turns}
    valid = (
        all(run.turn in known and _valid_run(run) for run in runs)
        and all(gone.turn in known and gone.tokens > 0 for gone in ledger.gone)
        and _in_order(runs)
        and ledger.n_tokens <= n_ctx
        and 0 <= ledger.evicted_tokens <= MOST_COUNTED
    )
    if not valid:
        raise StateError(DAMAGED)
    if any(not 0 <= token < n_vocab for token in ledger.tokens):
        raise StateError(DAMAGED)
    return ledger


def _kind(name: str) -> CellKind:
    try:
        return CellKind(name)
    except ValueError as error:
        raise StateError(DAMAGED) from error


def _valid_run(run: Run) -> bool:
    within = run.pos >= 0 and run.end <= MOST_POSITIONS and 0 <= run.lost <= MOST_COUNTED
    return run.role in ROLES and within and 0 <= run.opening <= len(run.tokens) > 0


def _in_order(runs: Sequence[Run]) -> bool:
    """Positions ascend, and the sinks are first, but for the end of a message that the system prompt is folded into."""
    sinks = [run.kind is CellKind.SINK for run in runs if run.turn]
    return all(after.pos >= before.end for before, after in pairwise(runs)) and sinks == sorted(sinks, reverse=True)


def write(path: Path, saved: Header, state: bytes, cancelled: Callable[[], bool] = lambda: False) -> int:
    """Write the file atomically, readable by its owner only; returns its size in bytes. Raises OSError, and
    CancelledError, with the file as it was, soon after `cancelled` says so.
    """
    head = msgspec.msgpack.encode(saved)
    head = len(head).to_bytes(8, "little") + head
    digest = blake2b(head, digest_size=DIGEST_BYTES)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(MAGIC + bytes(DIGEST_BYTES) + head)
            for at in range(0, len(state), PIECE_BYTES):
                if cancelled():
                    raise CancelledError
                piece = memoryview(state)[at : at + PIECE_BYTES]
                digest.update(piece)
                file.write(piece)
            file.seek(len(MAGIC))
            file.write(digest.digest())
        part.replace(path)
    except (OSError, CancelledError):
        part.unlink(missing_ok=True)
        raise
    return len(MAGIC) + DIGEST_BYTES + len(head) + len(state)


def read(path: Path, cancelled: Callable[[], bool] = lambda: False) -> tuple[Header, memoryview]:
    """The header and the state. StateError where the file is missing, damaged or from another version; CancelledError
    soon after `cancelled` says so.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    begin = len(MAGIC) + DIGEST_BYTES
    try:
        with path.open("rb") as file:
            head, rest = file.read(begin), max(0, os.fstat(file.fileno()).st_size - begin)
            body, done = memoryview(bytearray(rest)), 0
            while done < rest and (n := file.readinto(body[done : done + PIECE_BYTES])):
                if cancelled():
                    raise CancelledError
                digest.update(body[done : done + n])
                done += n
    except FileNotFoundError as error:
        raise StateError("no cache was saved") from error
    except OSError as error:
        raise StateError(f"the saved cache cannot be read ({error.strerror})") from error
    if not head.startswith(MAGIC):
        raise StateError("the saved cache is from another version")
    if done < rest or digest.digest() != head[len(MAGIC) :]:
        raise StateError(DAMAGED)
    length = int.from_bytes(body[:8], "little")
    try:
        return msgspec.msgpack.decode(body[8 : 8 + length], type=Header), body[8 + length :]
    except msgspec.DecodeError as error:
        raise StateError(DAMAGED) from error


def differs(saved: Header, model: str, settings: str, conversation: str) -> str | None:
    """Why a saved state does not belong to this conversation, None where it does."""
    if saved.model != model:
        return "it was saved with another model"
    if saved.settings != settings:
        return "it was saved with other settings"
    if saved.conversation != conversation:
        return "the conversation has changed since it was saved"
    return None
