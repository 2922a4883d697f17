"""Sections of the config as the engine's values: `ctx` becomes `n_ctx`, and None is for the engine to determine."""

from chatapp.config.models import Config
from chatapp.protocol.values import CacheRequest, EngineSettings, Sampling


def cache_settings(config: Config) -> CacheRequest:
    """The KV cache to ask the engine for."""
    values = config.cache.model_dump()
    n_ctx, sinks = values.pop("ctx"), values.pop("sinks")
    return CacheRequest(n_ctx=None if n_ctx == "max" else n_ctx, sinks=None if sinks == "auto" else sinks, **values)


def engine_settings(config: Config, *, watched: bool = False) -> EngineSettings:
    """Where and how llama.cpp is to run; `watched` where the attention is displayed."""
    values = config.engine.model_dump()
    if values["probe_every"] is None and not watched:
        values["probe_every"] = 0
    if values["threads"] == "auto":
        values["threads"] = None
    values["template_args"] = tuple(sorted(values["template_args"].items()))
    return EngineSettings(**values)


def sampling(config: Config) -> Sampling:
    """How to choose the next token."""
    return Sampling(**config.sampling.model_dump())
