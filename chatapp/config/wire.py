"""Sections of the config as the values that the engine takes: `ctx` is `n_ctx`, and what it is to find out is None."""

from chatapp.config.models import Config
from chatapp.protocol.values import CacheRequest, EngineSettings, Sampling


def cache_settings(config: Config) -> CacheRequest:
    """How the KV cache is to be made."""
    values = config.cache.model_dump()
    n_ctx, sinks = values.pop("ctx"), values.pop("sinks")
    return CacheRequest(n_ctx=None if n_ctx == "max" else n_ctx, sinks=None if sinks == "auto" else sinks, **values)


def engine_settings(config: Config, *, watched: bool = False) -> EngineSettings:
    """Where and how llama.cpp is to run; `watched` by somebody who sees what the model attends to."""
    values = config.engine.model_dump()
    if values["probe_every"] is None and not watched:
        values["probe_every"] = 0
    return EngineSettings(**values)


def sampling(config: Config) -> Sampling:
    """How the next token is to be chosen."""
    return Sampling(**config.sampling.model_dump())
