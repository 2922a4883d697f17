"""What the probe costs a reply: decode speed without it, with it idle, and with one token in 16 looked into.

Usage: python -m benchmarks.probe [MODEL] [--fill N ...] [--every N] [--rounds N] [--threads N]

One cache, filled with N tokens; the same block of tokens is decoded and dropped again with each way in turn, so that a
busy machine hurts all alike, and the best block of each counts. `cpu_of_none` compares processor time, which others on
the machine touch less.
The bound on the probe's share of the time is lifted: what is measured is the cost of every single sample.
"""

import argparse
import math
import time

from benchmarks.shared import show
from chatapp import models
from chatapp.engine import llama
from chatapp.engine.prepare import prepare
from chatapp.engine.probe import Probe
from chatapp.engine.probe_tap import Tap
from chatapp.engine.protocol import AnyEvent, CacheSettings, EngineSettings, Evicted, Probed
from chatapp.engine.resident import Resident
from chatapp.engine.room import Piece
from chatapp.engine.stages import Stopwatch

BLOCK_TOK = 48
"""Three samples of one token in 16."""
N_SINK = 32


def measure(path: str, fill: int, every: int, rounds: int, threads: int | None) -> list[dict[str, object]]:
    """Rows of one fill of the cache: best times over the rounds."""
    room = math.ceil((fill + BLOCK_TOK) / 256) * 256
    prepared = prepare(models.resolve(path), CacheSettings(n_ctx=room))
    engine = EngineSettings(threads=threads)
    model = llama.Model(prepared.path)
    context = llama.Context(model, prepared.cache, engine)
    resident = Resident(
        context,
        policy="dense",
        n_sink=4,
        share=0.125,
        chunk=prepared.cache.micro_batch,
        n_swa=prepared.model.n_swa,
        max_pos=room,
        can_cut=True,
        on_evicted=_never,
        cancelled=lambda: False,
    )
    tokens = [300 + (i * 37) % 1000 for i in range(fill)]
    resident.prefill([Piece(0, "system", tuple(tokens[:N_SINK]), sink=True), Piece(1, "user", tuple(tokens[N_SINK:]))])
    probes: dict[str, Probe | None] = {
        "none": None,
        "idle": Probe(context, Tap(), every=0, slides=prepared.slides),
        f"every {every}": Probe(context, Tap(), every=every, slides=prepared.slides, most_time=math.inf),
    }
    wall, cpu = dict.fromkeys(probes, math.inf), dict.fromkeys(probes, math.inf)
    events: list[AnyEvent] = []
    for _ in range(rounds):
        for way, probe in probes.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            for i in range(BLOCK_TOK):
                if probe is None:
                    resident.extend(1, 300 + i)
                else:
                    probe.extend(resident, 1, 300 + i, events.append, Stopwatch())
            context.synchronize()
            wall[way] = min(wall[way], time.perf_counter() - began)
            cpu[way] = min(cpu[way], time.process_time() - began_cpu)
            resident.go_back(fill)
    samples = [event for event in events if isinstance(event, Probed)]
    assert len(samples) >= rounds * (BLOCK_TOK // every) - rounds, "the probe was blind"
    for probe in probes.values():
        if probe is not None:
            probe.close()
    context.close()
    model.close()
    return [
        {
            "fill": fill,
            "way": way,
            "tok_s": BLOCK_TOK / wall[way],
            "of_none": wall["none"] / wall[way],
            "cpu_of_none": cpu["none"] / cpu[way],
            "reduce_ms": min(sample.ms for sample in samples) if way.startswith("every") else 0.0,
        }
        for way in probes
    ]


def _never(_: Evicted) -> None:
    raise AssertionError("the cache has room for all")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--fill", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--every", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    llama.init()
    rows = [row for fill in args.fill for row in measure(args.model, fill, args.every, args.rounds, args.threads)]
    show(rows, "probe")


if __name__ == "__main__":
    main()
