"""Experiments with windows and sinks, on the kernels: what `swachat lab` shows.

    mask    which tokens see which       ring    the rolling buffer, step by step
    reach   how far back a stack sees    memory  what the cache takes as the conversation grows
    sinks   where unneeded attention goes

Each module computes one experiment, as data (`numbers`) and as lines for a terminal (`lines`); `pictures` draws them,
and is the only one that needs Matplotlib. `shapes` describes models, `influence` computes the curves of
`reach`.
"""
