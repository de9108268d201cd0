# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""From what a YAML file says to dataclasses, checked by their types.

A dataclass is the schema: its fields are the keys, its annotations say what they hold, fields
without a default must be there. What is wrong is told by its place, with what would be right.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class RecipeError(ValueError):
    """A recipe lacks something, or asks for what is unknown or impossible."""


def read(kind: type[T], value: Any, where: str) -> T:
    """Read a value as a dataclass.

    Args:
        kind: the dataclass.
        value: what YAML gave.
        where: the value's place in the recipe, for errors.

    Raises:
        RecipeError: a key is unknown or missing (the valid ones are listed), or a value is of the
            wrong type or refused by the dataclass.
    """
    result: T = _read(kind, value, where)
    return result


class OneOf:
    """Reads a choice: a name, or a mapping of a name to the settings of its dataclass."""

    def __init__(self, kinds: Mapping[str, type]) -> None:
        self._kinds = kinds

    def __call__(self, value: Any, where: str) -> Any:
        """Return the dataclass of the name.

        Raises:
            RecipeError: there is none of that name, or its settings are wrong.
        """
        name, settings = named(value, where, self._kinds)
        return _read(self._kinds[name], settings, f"{where}.{name}")


def named(value: Any, where: str, names: Mapping[str, Any]) -> tuple[str, Any]:
    """Name and settings out of NAME or {NAME: settings}.

    Raises:
        RecipeError: it is neither, or the name is unknown; the valid ones are listed.
    """
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise RecipeError(f"{where} must be one of {', '.join(names)}, with its settings")
    ((name, settings),) = value.items()
    if name not in names:
        raise RecipeError(f"{where} knows no '{name}'; choose one of {', '.join(names)}")
    return name, {} if settings is None else settings


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        reader: Callable[[Any, str], Any] = arguments[1]
        return reader(value, where)
    if origin in (Union, types.UnionType):  # the only unions are with None
        (inner,) = (a for a in arguments if a is not type(None))
        return None if value is None else _read(inner, value, where)
    if is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise _wrong(where, f"one of {', '.join(map(str, arguments))}", value)
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a mapping", value)
        return {key: _read(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    return value if kind is Any else _read_scalar(kind, value, where)


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where, f"a mapping of {', '.join(f.name for f in fields(kind))}", value)
    known = {field.name: field for field in fields(kind)}
    if unknown := [str(key) for key in value if key not in known]:
        raise RecipeError(
            f"{where} knows no {', '.join(unknown)}; its keys are {', '.join(known)}"
        )
    missing = [
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING and name not in value
    ]
    if missing:
        raise RecipeError(f"{where} lacks {', '.join(missing)}")
    hints = get_type_hints(kind, include_extras=True)
    settings = {key: _read(hints[key], v, f"{where}.{key}") for key, v in value.items()}
    try:
        return kind(**settings)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error


def _read_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(where, "a list", value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _wrong(where, f"a list of {len(kinds)}", value)
    return tuple(
        _read(kind, v, f"{where}[{i}]")
        for i, (kind, v) in enumerate(zip(kinds, value, strict=True))
    )


def _read_scalar(kind: Any, value: Any, where: str) -> Any:
    wanted = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}[kind]
    if kind is bool or isinstance(value, bool):
        fits = kind is bool and isinstance(value, bool)
    elif kind is float:
        try:  # YAML 1.1 takes 1e-5 for a text
            return float(value)
        except (TypeError, ValueError):
            fits = False
    else:
        fits = isinstance(value, kind)
    if not fits:
        raise _wrong(where, wanted, value)
    return value


def _wrong(where: str, wanted: str, value: Any) -> RecipeError:
    return RecipeError(f"{where} must be {wanted}, not {value!r}")
