"""The Triton side of `kernels.fast.triton_attention`: imported only where Triton is installed.

FlashAttention-2 (arXiv 2307.08691) over the keys that a block of queries can see. Tensors are contiguous:
`q (n_head, n_query, head_dim)`, `k (n_kv_head, n_key, head_dim)`, `v (n_kv_head, n_key, v_dim)`; masks pad the last
dimension of each to a power of two (DIM, V_DIM).
"""

# Triton's language is typed by its own compiler.
# pyright: basic, reportMissingImports=false

import triton
import triton.language as tl


@triton.jit
def _meet(
    q,
    k,
    v,
    key_positions,
    query_positions,
    keys,
    stop,
    head_dim,
    v_dim,
    scale,
    softcap,
    window,
    n_sink,
    top,
    total,
    output,
    CAP: tl.constexpr,
    DIM: tl.constexpr,
    V_DIM: tl.constexpr,
):
    """The online softmax over one block of keys: what is largest, the sum and the output so far, and after it."""
    d, e = tl.arange(0, DIM), tl.arange(0, V_DIM)
    inside = keys < stop
    k_block = tl.load(
        k + keys[:, None] * head_dim + d[None, :], mask=inside[:, None] & (d < head_dim)[None, :], other=0
    )
    v_block = tl.load(v + keys[:, None] * v_dim + e[None, :], mask=inside[:, None] & (e < v_dim)[None, :], other=0)
    at = tl.load(key_positions + keys, mask=inside, other=-1)
    scores = tl.dot(q, tl.trans(k_block), input_precision="ieee") * scale
    if CAP:
        half = tl.exp(-2 * tl.abs(scores) / softcap)  # tanh by an exponential that cannot overflow
        scores = tl.where(scores < 0, -softcap, softcap) * (1 - half) / (1 + half)
    behind = query_positions[:, None] - at[None, :]
    seen = (at >= 0)[None, :] & (behind >= 0) & ((behind < window) | (at < n_sink)[None, :])
    scores = tl.where(seen, scores, -float("inf"))
    higher = tl.maximum(top, tl.max(scores, 1))
    base = tl.where(higher == -float("inf"), 0.0, higher)
    weights = tl.exp(scores - base[:, None])
    shrink = tl.exp(top - base)
    total = total * shrink + tl.sum(weights, 1)
    output = output * shrink[:, None] + tl.dot(weights.to(v_block.dtype), v_block, input_precision="ieee")
    return higher, total, output


@triton.jit
def attend_block(
    q,
    k,
    v,
    query_positions,
    key_positions,
    first,
    last,
    sink_logits,
    out,
    parts,
    n_head,
    n_kv_head,
    n_query,
    n_key,
    head_dim,
    v_dim,
    scale,
    softcap,
    window,
    n_sink,
    sink_keys,
    part_keys,
    LEARNED: tl.constexpr,
    CAP: tl.constexpr,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    DIM: tl.constexpr,
    V_DIM: tl.constexpr,
):
    """One block of rows over one part of its keys.

    A row is a query of one of the heads that share a key head: row = query · group + head in group, so that one token
    of a grouped model fills a block. `first` and `last` bound the keys that the block of queries can see, beside the
    `sink_keys` at the beginning. With PARTS above 1, each program takes `part_keys` of these, and writes its output
    before it is divided by its sum, and its largest score and its sum to `parts`.
    """
    block, kv_head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    group = n_head // n_kv_head
    row = block * ROWS + tl.arange(0, ROWS)
    query, head = row // group, kv_head * group + row % group
    used = query < n_query
    d, e = tl.arange(0, DIM), tl.arange(0, V_DIM)
    place = head * n_query + query
    q_block = tl.load(q + place[:, None] * head_dim + d[None, :], mask=used[:, None] & (d < head_dim)[None, :], other=0)
    at = tl.load(query_positions + query, mask=used, other=-1)
    top = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    if LEARNED:  # noqa: SIM102 - the compiler drops the inner test with it
        if part == 0:  # which counts it for all
            top = tl.load(sink_logits + head, mask=used, other=-float("inf"))
            total = tl.full([ROWS], 1.0, tl.float32)
    output = tl.zeros([ROWS, V_DIM], tl.float32)
    k_head, v_head = k + kv_head * n_key * head_dim, v + kv_head * n_key * v_dim
    end = tl.load(last + block)
    sinks = tl.minimum(sink_keys, end)
    begin = tl.maximum(tl.load(first + block), sinks)
    if part == 0:
        for start in range(0, sinks, KEYS):
            top, total, output = _meet(
                q_block, k_head, v_head, key_positions, at, start + tl.arange(0, KEYS), sinks, head_dim, v_dim,
                scale, softcap, window, n_sink, top, total, output, CAP, DIM, V_DIM,
            )  # fmt: skip
    begin += part * part_keys
    if PARTS > 1:
        end = tl.minimum(end, begin + part_keys)
    for start in range(begin, end, KEYS):
        top, total, output = _meet(
            q_block, k_head, v_head, key_positions, at, start + tl.arange(0, KEYS), end, head_dim, v_dim,
            scale, softcap, window, n_sink, top, total, output, CAP, DIM, V_DIM,
        )  # fmt: skip
    place += part * n_head * n_query
    if PARTS > 1:
        tl.store(parts + 2 * place, top, mask=used)
        tl.store(parts + 2 * place + 1, total, mask=used)
    else:
        output = output / tl.where(total == 0, 1.0, total)[:, None]
    tl.store(out + place[:, None] * v_dim + e[None, :], output, mask=used[:, None] & (e < v_dim)[None, :])


@triton.jit
def add_parts(part_out, parts, out, n_row, v_dim, PARTS: tl.constexpr, V_DIM: tl.constexpr):
    """The parts of each row, in proportion to their sums: one program for each head and query."""
    row = tl.program_id(0)
    e = tl.arange(0, V_DIM)
    part = tl.arange(0, PARTS)
    top = tl.load(parts + 2 * (part * n_row + row))
    total = tl.load(parts + 2 * (part * n_row + row) + 1)
    highest = tl.max(top, 0)
    share = tl.exp(top - tl.where(highest == -float("inf"), 0.0, highest))
    values = tl.load(part_out + (part * n_row + row)[:, None] * v_dim + e[None, :], mask=(e < v_dim)[None, :], other=0)
    sum_of_all = tl.sum(total * share, 0)
    output = tl.sum(values * share[:, None], 0) / tl.where(sum_of_all == 0, 1.0, sum_of_all)
    tl.store(out + row * v_dim + e, output, mask=e < v_dim)
