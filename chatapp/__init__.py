"""swachat: a terminal chat for very long conversations with a local model, in a cache that never overflows."""

__version__ = "0.1.0"
