"""The settings: which there are, where a value comes from, and how an invalid one is reported.

Importing this package imports pydantic (about 0.1 s), so the command line does it inside functions. PyYAML is
imported only when there is a file to read.
"""

from chatapp.config.example import example_yaml
from chatapp.config.load import check_config, load_config
from chatapp.config.models import CacheConfig, Config, EngineConfig, SamplingConfig, UiConfig
from chatapp.config.wire import cache_settings, engine_settings, sampling

__all__ = [
    "CacheConfig",
    "Config",
    "EngineConfig",
    "SamplingConfig",
    "UiConfig",
    "cache_settings",
    "check_config",
    "engine_settings",
    "example_yaml",
    "load_config",
    "sampling",
]
