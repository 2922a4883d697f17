"""Experiments with windows and sinks, on the kernels: what `swachat lab` shows.

    mask    who may see whom          ring    the rolling buffer, step by step
    reach   how far a stack sees      memory  what the cache takes as the conversation grows
    sinks   where spare attention goes

Each module computes one experiment, as data (`numbers`) and as lines for a terminal (`lines`); `pictures` draws them,
and is the only one that needs Matplotlib. `shapes` says what a model is made of, `influence` computes the curves of
`reach`.
"""
