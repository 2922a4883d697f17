"""Sections of the config as the values that the engine takes. The only difference is a name: `ctx` is `n_ctx`."""

from chatapp.config.models import Config
from chatapp.engine.protocol import CacheSettings, EngineSettings, Sampling


def cache_settings(config: Config) -> CacheSettings:
    """How the KV cache is to be made."""
    values = config.cache.model_dump()
    return CacheSettings(n_ctx=values.pop("ctx"), **values)


def engine_settings(config: Config) -> EngineSettings:
    """Where and how llama.cpp is to run."""
    return EngineSettings(**config.engine.model_dump())


def sampling(config: Config) -> Sampling:
    """How the next token is to be chosen."""
    return Sampling(**config.sampling.model_dump())
