"""What renumbering does to stored keys: rounding, shift after shift, against the same history with F32 keys.

Usage: python -m benchmarks.drift [MODEL] [--shifts N ...] [--types TYPE ...] [--histories N]   (needs `gguf`)

llama.cpp's K-shift runs over every cell of the cache, also over those that stay where they are: keys are taken out of
their type, rotated, and put back into it (build_graph_shift in llama-kv-cache.cpp; quantized keys lie under a Hadamard
transform, which is taken off and put on again). Two tables:

- **history**: a text streams through a window of 256 tokens, the first 192 of which never leave (sinks and pinned
  turns), by the plans that the engine makes; the rest leaves 3 tokens at a time, 5% of it, the least that a setting
  allows, so that each token is moved as often as can be. Every type does the same decodes, removals and renumberings.
  `kl` is the divergence of its next-token distribution from that of F32 keys, in 1/1000 nats, mean and standard error
  over the histories and over 32 positions after each shift. `kl_fresh` is the same with the kept tokens' keys put
  back as they were before the first shift: without what the shifts did to them. 0 shifts is quantization alone. The
  row of `f32` is F32 keys again, its attention computed without flash attention: another rounding and no drift, the
  floor under all other rows.
- **moves**: the relative error (L2, the worst layer) of keys that were moved there and back by 7 positions so many
  times, and of keys in the same cache that stayed, against what they were before.

Values are F16 throughout, so that only keys differ.
"""

import argparse
import math
import statistics
import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.shared import show, table
from benchmarks.streaming_table import prose
from chatapp import models
from chatapp.cache import policy
from chatapp.cache.ledger import CellKind, Ledger
from chatapp.engine.native import llama
from chatapp.protocol.values import CacheSettings, EngineSettings
from kernels.quant import dequantize

WINDOW, KEPT, SHARE, CHUNK = 256, 192, 0.05, 3
PROBE = 32
"""Positions after a shift at which distributions are compared."""
REFERENCE = "f32"
MILLI = 1000

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


class Cache:
    """One context with keys of one type."""

    def __init__(self, model: llama.Model, type_k: str, *, flash_attention: str = "on") -> None:
        settings = CacheSettings(n_ctx=WINDOW + PROBE, micro_batch=PROBE, type_k=type_k)
        self.type_k = type_k
        engine = EngineSettings(flash_attention=flash_attention)
        self.context = llama.Context(model, settings, engine, n_outputs=PROBE)

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "none") -> None:
        """Tokens of any number, at positions pos, pos + 1, ..."""
        for at in range(0, len(tokens), PROBE):
            status = self.context.decode(tokens[at : at + PROBE], pos + at, logits=logits)
            assert status == 0, f"llama.cpp could not decode (status {status})"

    def follow(self, plan: policy.EvictionPlan) -> None:
        """Apply the plan of an eviction."""
        for step in plan.steps:
            match step:
                case policy.Remove(p0, p1):
                    assert self.context.remove(p0, p1)
                case policy.Renumber(p0, delta):
                    self.context.renumber(p0, delta)
                case policy.Reprocess():
                    raise AssertionError("sinks never reprocess")

    def log_probabilities(self, tokens: Sequence[int], pos: int) -> Floats:
        """Of the token after each of `tokens`, (n, n_vocab); the cache is left as it was."""
        self.decode(tokens, pos, logits="all")
        logits = self.context.logits(len(tokens)).astype(np.float64)
        self.context.remove(pos, -1)
        top = logits.max(axis=1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))

    def with_keys(self, start: list[Bytes], tokens: Sequence[int], pos: int) -> Floats:
        """`log_probabilities`, were the first tokens' stored keys `start`. The cache is left as it was."""
        state = self.context.state()
        changed = bytearray(state)
        for now, then in zip(stored_keys(changed, len(start[0])), start, strict=True):
            now[:] = then
        self._put(changed)
        found = self.log_probabilities(tokens, pos)
        self._put(state)
        return found

    def _put(self, state: bytes | bytearray) -> None:
        self.context.clear()
        assert self.context.restore(bytes(state))

    def stored(self, p0: int, p1: int) -> list[Bytes]:
        """Each layer's keys at positions [p0, p1), as they lie in memory, (position, row_bytes)."""
        return [rows[p0:].copy() for rows in stored_keys(bytearray(self.context.state()), p1)]

    def keys(self, p0: int, p1: int) -> Floats:
        """The same in float, (layer, position, n_embd_k_gqa); those of a quantized type under its transform."""
        return np.stack([dequantize(rows, self.type_k.upper()) for rows in self.stored(p0, p1)]).astype(np.float64)


def stored_keys(state: bytearray, count: int) -> list[Bytes]:
    """Each layer's keys of the first `count` cells, views of (cell, row_bytes) into the state of a sequence
    (state_write in llama-kv-cache.cpp). Those cells hold positions 0 to count - 1, for they were filled first and
    nothing left them; else ValueError.
    """
    _, _, n_stream, n_cell = struct.unpack_from("<IiII", state)
    at = 16
    for cell in range(n_cell):
        pos, n_seq = struct.unpack_from("<iI", state, at)
        if n_stream != 1 or (cell < count and pos != cell):
            raise ValueError("the cells of this state are not in order")
        at += 8 + 4 * n_seq
    _, n_layer = struct.unpack_from("<II", state, at)
    at += 8
    layers: list[Bytes] = []
    for _ in range(n_layer):
        _, row_bytes = struct.unpack_from("<iQ", state, at)
        layers.append(np.frombuffer(state, np.uint8, count * row_bytes, at + 12).reshape(count, row_bytes))
        at += 12 + n_cell * row_bytes
    return layers


def divergence(log_p: Floats, log_q: Floats) -> list[float]:
    """Kullback-Leibler divergence at each position, in nats."""
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=1).tolist()


Divergences = dict[tuple[str, int], tuple[list[float], list[float]]]
"""By type of keys and number of shifts: at PROBE positions, as the cache is, and with the first kept keys."""


def history(model: llama.Model, tokens: Sequence[int], types: Sequence[str], checkpoints: Sequence[int]) -> Divergences:
    """Stream `tokens` through a cache of each type at once, and compare after so many shifts."""
    others = [Cache(model, type_k, flash_attention="off" if type_k == REFERENCE else "on") for type_k in types]
    caches = [Cache(model, REFERENCE), *others]
    found: Divergences = {}
    for cache in caches:
        cache.decode(tokens[:WINDOW], 0)
    starts = [cache.stored(0, KEPT) for cache in caches]
    done = WINDOW
    ledger = (
        Ledger()
        .append(1, "text", tuple(tokens[:KEPT]), kind=CellKind.SINK)
        .append(1, "text", tuple(tokens[KEPT:WINDOW]))
    )
    for shifts in range(max(checkpoints) + 1):
        if shifts:
            chunk = tuple(tokens[done : done + CHUNK])
            plan = policy.make_room(ledger, policy="sinks", need=CHUNK, n_ctx=WINDOW, share=SHARE, turn=1)
            assert plan.tokens == CHUNK
            ledger = policy.apply(ledger, plan)
            for cache in caches:
                cache.follow(plan)
                cache.decode(chunk, ledger.next_pos)
            ledger = ledger.append(1, "text", chunk)
            done += CHUNK
        if shifts in checkpoints:
            ahead = tokens[done : done + PROBE]
            exact = caches[0].log_probabilities(ahead, ledger.next_pos)
            for cache, start in zip(caches[1:], starts[1:], strict=True):
                drifted = divergence(exact, cache.log_probabilities(ahead, ledger.next_pos))
                fresh = divergence(exact, cache.with_keys(start, ahead, ledger.next_pos))
                found[cache.type_k, shifts] = drifted, fresh
            print(f"{shifts} shifts", file=sys.stderr, flush=True)
    for cache in caches:
        cache.context.close()
    return found


def moves(model: llama.Model, tokens: Sequence[int], type_k: str, checkpoints: Sequence[int]) -> list[dict[str, Any]]:
    """Relative error of keys after so many moves, and of keys beside them that stayed."""
    cache = Cache(model, type_k)
    half, end, step = 64, 128, 7
    cache.decode(tokens[:end], 0)
    stayed, moved = cache.keys(0, half), cache.keys(half, end)
    rows: list[dict[str, Any]] = []
    for count in range(1, max(checkpoints) + 1):
        there = count % 2 == 1
        cache.context.renumber(*((half, step) if there else (half + step, -step)))
        behind = end + step if there else end
        cache.decode(tokens[end : end + 1], behind)  # the keys rotate inside a decode
        cache.context.remove(behind, -1)
        if count in checkpoints:
            error = {"stayed": relative(cache.keys(0, half), stayed), "moved": relative(cache.keys(half, end), moved)}
            rows.append({"keys": type_k, "moves": count, **error})
    cache.context.close()
    return rows


def relative(now: Floats, then: Floats) -> float:
    """|now - then| / |then| of the layer where that is largest."""
    return float((np.linalg.norm(now - then, axis=(1, 2)) / np.linalg.norm(then, axis=(1, 2))).max())


def summary(type_k: str, shifts: int, drifted: list[float], fresh: list[float]) -> dict[str, Any]:
    """One row of the table: means and standard errors, in 1/1000 nats."""
    row: dict[str, Any] = {"keys": type_k, "shifts": shifts}
    for name, values in (("kl", drifted), ("kl_fresh", fresh)):
        row[name] = MILLI * statistics.fmean(values)
        row[f"{name}_error"] = MILLI * statistics.stdev(values) / math.sqrt(len(values))
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--shifts", type=int, nargs="+", default=[0, 1, 10, 100, 1000])
    parser.add_argument("--types", nargs="+", default=["f32", "f16", "q8_0", "q4_0"])
    parser.add_argument("--histories", type=int, default=4)
    args = parser.parse_args()
    llama.init()
    model = llama.Model(models.resolve(args.model))
    tokens = model.tokenize(prose(), special=False)
    length = WINDOW + CHUNK * max(args.shifts) + PROBE
    pooled: Divergences = {}
    for index in range(args.histories):
        begin = index * length
        for key, values in history(model, tokens[begin : begin + length], args.types, args.shifts).items():
            for pool, more in zip(pooled.setdefault(key, ([], [])), values, strict=True):
                pool += more
    moved = [row for type_k in args.types for row in moves(model, tokens, type_k, [2, 8, 20, 100, 1000])]
    rows = [summary(*key, *pooled[key]) for key in sorted(pooled, key=lambda key: (args.types.index(key[0]), key[1]))]
    table(moved)
    print()
    show(rows, "drift")


if __name__ == "__main__":
    main()
