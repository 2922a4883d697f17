"""What is wrong with a setting, in one line: where, which key, what it must be, what it is.

The text is derived from the field's own type and limits, so it cannot drift from what is checked.
"""

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from chatapp.config.yamlfile import Keys
from chatapp.errors import ConfigError
from chatapp.text import close_names, one_line

_LONGEST_SHOWN = 40
_WORDS = ((bool, "true or false"), (int, "a whole number"), (float, "a number"), (str, "text"))


def explain(error: ValidationError, model: type[BaseModel], where: Callable[[Keys], str]) -> list[ConfigError]:
    """One error for each problem that pydantic found; `where` names a key's source: a line of the file, a variable."""
    found: dict[Keys, ErrorDetails] = {}
    for detail in error.errors(include_url=False):
        # A setting of a union type has an error for each member, whose name follows the path to the setting.
        found.setdefault(_setting(detail["loc"], model), detail)
    return [_problem(where(keys), keys, detail, model) for keys, detail in found.items()]


def describe(info: FieldInfo) -> str:
    """What a field takes: "a whole number of at least 256"; "one of dense, window, sinks"."""
    kinds = [_described(kind) for kind in _alternatives(info.annotation) if kind is not NoneType]
    text = " or ".join(kinds) + _limits(info.metadata)
    return f"{text} or null" if nullable(info) else text


def nullable(info: FieldInfo) -> bool:
    """Whether the field takes null."""
    return NoneType in _alternatives(info.annotation)


def shown(value: object) -> str:
    """A value roughly as it would be written in the file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_LONGEST_SHOWN else "a number of that size"
    if isinstance(value, str):
        return f'"{short(value)}"'
    return "a list" if isinstance(value, list) else "a mapping"


def short(text: str) -> str:
    """Text on one line, truncated, without terminal control characters."""
    return one_line(text, _LONGEST_SHOWN)


def dotted(keys: Keys) -> str:
    """The path to a setting as one name: `cache.ctx`."""
    return ".".join(short(str(key)) for key in keys)


def _problem(source: str, keys: Keys, detail: ErrorDetails, model: type[BaseModel]) -> ConfigError:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown(source, keys, model)
    if kind == "missing":
        return ConfigError(f"{source}: the key {dotted(keys)} is missing.", f"Add {dotted(keys)}.")
    if kind == "value_error":
        return ConfigError(f"{source}: {dotted(keys)}: {detail.get('ctx', {})['error']}, not {shown(value)}.")
    info = _field(model, keys)
    wanted = describe(info) if info else "text"
    todo = ""
    if isinstance(value, str) and info and (choices := close_names(value, _choices(info))):
        todo = f'Did you mean "{choices[0]}"?'
    return ConfigError(f"{source}: {dotted(keys)} must be {wanted}, not {shown(value)}.", todo)


def _unknown(source: str, keys: Keys, model: type[BaseModel]) -> ConfigError:
    """An unknown key: suggest the same name in another section, else the most similar sibling, else list all."""
    parent = _model(model, keys[:-1])
    name = str(keys[-1])
    siblings = list(parent.model_fields) if parent else []
    elsewhere = [
        f"{section}.{name}"
        for section, info in model.model_fields.items()
        if (inner := _as_model(info)) and name in inner.model_fields
    ]
    if elsewhere:
        todo = f"Did you mean {elsewhere[0]}?"
    elif close := close_names(name, siblings):
        todo = f"Did you mean {dotted((*keys[:-1], close[0]))}?"
    else:
        todo = f"Valid keys: {', '.join(siblings)}."
    return ConfigError(f"{source}: unknown key {dotted(keys)}.", todo)


def _setting(keys: Keys, model: type[BaseModel]) -> Keys:
    """The path to the setting itself: pydantic appends the member of a union that it tried."""
    info = _field(model, keys[:2])
    return keys[:2] if info is not None and _as_model(info) is None else keys


def _model(model: type[BaseModel], keys: Keys) -> type[BaseModel] | None:
    """The model at `keys`: a section, or the whole config."""
    if not keys:
        return model
    info = _field(model, keys)
    return _as_model(info) if info else None


def _field(model: type[BaseModel], keys: Keys) -> FieldInfo | None:
    """The field at `keys`; None inside a free mapping, whose keys have no fields."""
    around = _model(model, keys[:-1])
    return around.model_fields.get(str(keys[-1])) if around and keys else None


def _as_model(info: FieldInfo) -> type[BaseModel] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _alternatives(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _choices(info: FieldInfo) -> list[str]:
    literals = [kind for kind in _alternatives(info.annotation) if get_origin(kind) is Literal]
    return [str(choice) for kind in literals for choice in get_args(kind)]


def _described(kind: object) -> str:
    """One alternative, with its own limits where it has any."""
    if get_origin(kind) is Annotated:
        plain, *metadata = get_args(kind)
        return _kind(plain) + _limits([limit for part in metadata for limit in _parts(part)])
    return _kind(kind)


def _parts(metadata: Any) -> list[Any]:
    """The limits in one piece of metadata: pydantic's own Field holds several."""
    return metadata.metadata if isinstance(metadata, FieldInfo) else [metadata]


def _kind(kind: object) -> str:
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    return next((words for plain, words in _WORDS if kind is plain), "a mapping")


def _limits(metadata: list[Any]) -> str:
    low = next((limit.ge for limit in metadata if isinstance(limit, Ge)), None)
    high = next((limit.le for limit in metadata if isinstance(limit, Le)), None)
    above = next((limit.gt for limit in metadata if isinstance(limit, Gt)), None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    if above is not None:
        return f" above {above}"
    return " that is not empty" if any(isinstance(limit, MinLen) for limit in metadata) else ""
