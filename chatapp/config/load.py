"""Where settings come from: flags override the environment, which overrides the file, which overrides the defaults.

Each source is checked on its own, so that every error names its source, and an invalid value in the file is reported
even where a flag overrides it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from pydantic import ValidationError

from chatapp import paths
from chatapp.config.explain import explain, nullable, short
from chatapp.config.models import Config, Section
from chatapp.config.yamlfile import Keys, read_yaml
from chatapp.errors import ConfigError
from chatapp.text import close_names, one_line

NO_FLAGS: Mapping[str, object] = MappingProxyType({})
_PREFIX = "SWACHAT_"


def load_config(
    flags: Mapping[str, object] = NO_FLAGS, environ: Mapping[str, str] = os.environ, file: Path | None = None
) -> Config:
    """All settings, resolved.

    `flags` maps dotted names to values ("cache.ctx": 512); None means that the flag was not given. `file` takes
    precedence over SWACHAT_CONFIG and the default path; either of the first two must exist. Raises ConfigError for the
    first problem, saying how many more there are.
    """
    config, problems = _resolve(flags, environ, file)
    if not problems:
        return config
    first, more = problems[0], len(problems) - 1
    if more:
        raise ConfigError(first.what, f"{first.todo} (And {more} more: see `swachat config check`.)".strip())
    raise first


def check_config(
    flags: Mapping[str, object] = NO_FLAGS, environ: Mapping[str, str] = os.environ, file: Path | None = None
) -> list[ConfigError]:
    """Every problem that `load_config` would meet with the same arguments."""
    return _resolve(flags, environ, file)[1]


def environment_names() -> dict[str, Keys]:
    """The environment variable of each setting: SWACHAT_CACHE_CTX is cache.ctx. `keys` has none: its names are free."""
    sections = _sections()
    ways: list[Keys] = [(key,) for key in Config.model_fields if key not in sections and key != "keys"]
    ways += [(key, inner) for key, section in sections.items() for inner in section.model_fields]
    return {f"{_PREFIX}{'_'.join(map(str, way))}".upper(): way for way in ways}


Layer = tuple[dict[str, object], list[ConfigError]]
"""The values that one source sets (none where it has a problem), and its problems."""


def _resolve(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> tuple[Config, list[ConfigError]]:
    """The settings of the valid sources, and the problems of the others."""
    merged: dict[str, object] = {}
    problems: list[ConfigError] = []
    for values, wrong in (_from_file(environ, file), _from_environment(environ), _from_flags(flags)):
        _merge(merged, values)
        problems += wrong
    return Config.model_validate(merged), problems


def _from_file(environ: Mapping[str, str], file: Path | None) -> Layer:
    path = file or paths.config_file(environ)
    named = file is not None or bool(environ.get("SWACHAT_CONFIG"))
    if not named and not os.path.lexists(path):
        return {}, []
    try:
        read = read_yaml(path)
    except ConfigError as error:
        return {}, [error]
    # A section whose lines are all comments is null in YAML; it is meant to set nothing.
    empty = {key for key in (*_sections(), "keys") if read.values.get(key, "") is None}
    values = {key: value for key, value in read.values.items() if key not in empty}
    try:
        return Config.model_validate(values).model_dump(exclude_unset=True), []
    except ValidationError as error:
        return {}, explain(error, Config, read.where)


def _from_environment(environ: Mapping[str, str]) -> Layer:
    names = environment_names()
    problems = [_unknown_variable(name, names) for name in sorted(environ) if _is_unknown(name, names)]
    given = {names[name]: name for name, value in environ.items() if value and name in names}
    texts: dict[str, object] = {}
    nulls: dict[str, object] = {}
    for keys, name in given.items():
        is_null = environ[name] == "null" and _takes_null(keys)
        _put(nulls if is_null else texts, keys, None if is_null else environ[name])
    try:
        values = Config.model_validate_strings(texts).model_dump(exclude_unset=True)
    except ValidationError as error:
        return {}, problems + explain(error, Config, lambda keys: f"{given[keys]}={short(environ[given[keys]])}")
    _merge(values, nulls)
    return values, problems


def _from_flags(flags: Mapping[str, object]) -> Layer:
    values: dict[str, object] = {}
    for name, value in flags.items():
        if value is not None:
            _put(values, tuple(name.split(".")), value)
    try:
        return Config.model_validate(values).model_dump(exclude_unset=True), []
    except ValidationError as error:
        return {}, explain(error, Config, lambda _keys: "On the command line")


def _sections() -> dict[str, type[Section]]:
    kinds = {key: info.annotation for key, info in Config.model_fields.items()}
    return {key: kind for key, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


def _takes_null(keys: Keys) -> bool:
    section, name = (_sections()[str(keys[0])], keys[1]) if len(keys) == 2 else (Config, keys[0])
    return nullable(section.model_fields[str(name)])


def _is_unknown(variable: str, names: Mapping[str, Keys]) -> bool:
    """Whether a variable names a section but none of its settings. Other SWACHAT_ variables may be anything."""
    prefixes = tuple(f"{_PREFIX}{section}_".upper() for section in (*_sections(), "keys"))
    return variable.startswith(prefixes) and variable not in names and variable not in paths.VARIABLES


def _unknown_variable(variable: str, names: Mapping[str, Keys]) -> ConfigError:
    close = close_names(variable, names)
    todo = f"Did you mean {close[0]}?" if close else "docs/reference/config.md lists them."
    return ConfigError(f"The environment variable {one_line(variable)} matches no setting.", todo)


def _put(tree: dict[str, object], keys: Keys, value: object) -> None:
    """Set the value at `keys` (one or two of them), creating the section."""
    if len(keys) == 2:
        section = tree.setdefault(str(keys[0]), {})
        assert isinstance(section, dict)
        cast("dict[str, object]", section)[str(keys[1])] = value
    else:
        tree[str(keys[0])] = value


def _merge(under: dict[str, object], over: Mapping[str, object]) -> None:
    """Put the values of `over` into `under`, section by section."""
    for key, value in over.items():
        below = under.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            _merge(cast("dict[str, object]", below), cast("dict[str, object]", value))
        else:
            under[key] = value
