"""What the probe costs a reply: decode speed without it, with it idle, and with one token in 16 looked into.

Usage: python -m benchmarks.probe [MODEL] [--fill N ...] [--every N] [--rounds N] [--threads N]

One cache, filled with N tokens. In each round every way decodes one block of `--every` tokens, so one look, and drops
it again; the order changes from round to round. Each round gives one ratio, of neighbours in time: what else happens on
the machine hurts both, and `of_none` is the median of the rounds, `plus_minus` its standard error. `cpu_of_none` is the
same for processor time. The bound on the probe's share of the time is lifted: what is measured is the cost of every
single look; `look_ms` is what one takes more than a token, and `reduce_ms` the part of it after the decode.
"""

import argparse
import math
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.shared import show
from chatapp import models
from chatapp.engine.kv.cache import KvCache
from chatapp.engine.kv.prefill_plan import CacheRules, Piece, Prefill
from chatapp.engine.native import llama
from chatapp.engine.planning.load_plan import prepare
from chatapp.engine.probe.sampling import ProbeSampler
from chatapp.engine.probe.tap import Tap
from chatapp.engine.stopwatch import Stopwatch
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Probed
from chatapp.protocol.values import CacheSettings, EngineSettings

N_SINK = 32
WARM_UP_ROUNDS = 3


def measure(path: str, fill: int, every: int, rounds: int, threads: int | None) -> list[dict[str, object]]:
    """Rows of one fill of the cache."""
    room = math.ceil((fill + every) / 256) * 256
    prepared = prepare(models.resolve(path), CacheSettings(n_ctx=room))
    engine = EngineSettings(threads=threads)
    model = llama.Model(prepared.path)
    context = llama.Context(model, prepared.cache, engine)
    kv = KvCache(
        context,
        CacheRules.of(
            policy="dense",
            n_sink=4,
            share=0.125,
            chunk=prepared.cache.micro_batch,
            n_ctx=context.n_ctx,
            n_swa=prepared.model.n_swa,
            max_pos=room,
        ),
        can_cut=True,
        on_evicted=_never,
        cancelled=lambda: False,
    )
    tokens = [300 + (i * 37) % 1000 for i in range(fill)]
    kv.prefill(
        Prefill([Piece(0, "system", tuple(tokens[:N_SINK]), sink=True), Piece(1, "user", tuple(tokens[N_SINK:]))])
    )
    probes: dict[str, ProbeSampler | None] = {
        "none": None,
        "idle": ProbeSampler(context, Tap(), every=0, slides=prepared.slides),
        f"every {every}": ProbeSampler(context, Tap(), every=every, slides=prepared.slides, most_time=math.inf),
    }
    events: list[AnyEvent] = []

    def block(probe: ProbeSampler | None) -> tuple[float, float]:
        """Seconds on the wall and of the processors for `every` tokens."""
        began, began_cpu = time.perf_counter(), time.process_time()
        for i in range(every):
            if probe is None:
                kv.extend(1, 300 + i)
            else:
                probe.extend(kv, 1, 300 + i, events.append, Stopwatch())
        context.synchronize()
        took = time.perf_counter() - began, time.process_time() - began_cpu
        kv.go_back(fill)
        return took

    names = list(probes)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(WARM_UP_ROUNDS + rounds):
        for name in names[round_ % 3 :] + names[: round_ % 3]:
            took = block(probes[name])
            if round_ >= WARM_UP_ROUNDS:
                wall[name].append(took[0])
                cpu[name].append(took[1])
    samples = [event for event in events if isinstance(event, Probed)]
    assert len(samples) >= rounds, "the probe was blind"
    for probe in probes.values():
        if probe is not None:
            probe.close()
    context.close()
    model.close()
    return [
        {
            "fill": fill,
            "way": name,
            "tok_s": every / median(wall[name]),
            "of_none": _ratio(wall["none"], wall[name])[0],
            "plus_minus": _ratio(wall["none"], wall[name])[1],
            "cpu_of_none": _ratio(cpu["none"], cpu[name])[0],
            "look_ms": 1000 * median(b - a for a, b in zip(wall["none"], wall[name], strict=True)),
            "reduce_ms": median(sample.ms for sample in samples) if name.startswith("every") else 0.0,
        }
        for name in names
    ]


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """The median of the rounds' ratios, and its standard error: 1.25 that of a mean, deviation by quartiles."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    low, high = (ratios[round(part * (len(ratios) - 1))] for part in (0.25, 0.75))
    return median(ratios), 1.25 * (high - low) / 1.35 / math.sqrt(len(ratios))


def _never(_: Evicted) -> None:
    raise AssertionError("the cache has room for all")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--fill", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--every", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    llama.init()
    rows = [row for fill in args.fill for row in measure(args.model, fill, args.every, args.rounds, args.threads)]
    show(rows, "probe")


if __name__ == "__main__":
    main()
