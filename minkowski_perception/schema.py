# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Strict reading of YAML: a bounded parser, and mappings read as dataclasses.

A dataclass is the schema of a mapping: its fields are the keys, its annotations say what they
hold, and fields without a default are required. A field of another name than its key has the key
in its metadata: `field(metadata={"key": "from"})`. Annotations may be

- int, float (finite), bool, str, unions of these, and Any;
- T | None;
- Literal, for choices;
- tuple[T, ...] for lists, tuple[T, U] for lists of two, Mapping[K, V];
- other dataclasses, `Annotated[T, check]` with a `Check`, and
  `Annotated[T, reader]` with a callable (value, path) that reads T itself, such as `OneOf`.

A class variable `former_keys` names the keys of earlier versions, see `Former`; files that have
them are read with a warning.

Conditions between fields belong into `__post_init__`, which raises ValueError, or a SchemaError
whose path begins at the dataclass.

Errors begin with the path of the value, as in "input.scale[1]: must be a number, not 'x'". Callers
put the file in front of it.
"""

from __future__ import annotations

import difflib
import logging
import math
import operator
import re
import reprlib
import types
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

import yaml

T = TypeVar("T")

_MOST_BYTES = 2**20
_DEEPEST = 32


class SchemaError(ValueError):
    """A YAML file cannot be read, or a value in it is unknown, missing or not possible."""


# Parsing


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; see `parse_yaml`.

    Raises:
        SchemaError: the file cannot be read or parsed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SchemaError(f"cannot be read: {error.strerror}") from error
    try:
        return parse_yaml(data.decode())
    except UnicodeDecodeError as error:
        raise SchemaError(f"is not UTF-8: {error}") from error


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain data: no tags that run code, no aliases, no duplicate keys.

    Raises:
        SchemaError: the text is not YAML, holds one of these, or is too long or too deep.
    """
    if len(text) > _MOST_BYTES:
        raise SchemaError(f"is longer than {_MOST_BYTES} bytes")
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise SchemaError(f"is not plain YAML: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # From PyYAML's own constructors, on scalars such as 2026-99-99.
        raise SchemaError(f"is not plain YAML: {error!r}") from error


def dump_yaml(data: Any) -> str:
    """Write plain data as YAML that `parse_yaml` reads; innermost lists take one line."""
    text: str = yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        width=99,
        allow_unicode=True,
        default_flow_style=None,
    )
    return text


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """SafeLoader without aliases and duplicate keys, of limited depth."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                None, None, f"alias *{event.anchor} is not allowed", event.start_mark
            )
        if self._depth == _DEEPEST:
            raise yaml.MarkedYAMLError(
                None, None, f"more than {_DEEPEST} levels are not allowed", event.start_mark
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):  # SafeLoader refuses the others
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        None, None, f"key {key!r} appears twice", key_node.start_mark
                    )
                seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """SafeDumper that writes a list again where it appears again, instead of an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# Reading


class Check(Protocol):
    """A condition on a value that has been read."""

    def check(self, value: Any) -> None:
        """Raise ValueError where the value does not meet it."""


@dataclass(frozen=True)
class Range:
    """Limits of a number; those that are None do not apply.

    Attributes:
        least, most: included.
        above, below: excluded.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def check(self, value: Any) -> None:
        """Check a number; see `Check`."""
        limits: dict[str, tuple[float | None, Callable[[Any, float], bool]]] = {
            "at least": (self.least, operator.ge),
            "at most": (self.most, operator.le),
            "above": (self.above, operator.gt),
            "below": (self.below, operator.lt),
        }
        given = {
            text: (limit, holds) for text, (limit, holds) in limits.items() if limit is not None
        }
        if not all(holds(value, limit) for limit, holds in given.values()):
            wanted = " and ".join(f"{text} {limit:g}" for text, (limit, _) in given.items())
            if given.keys() == {"at least", "at most"}:
                wanted = f"{self.least:g} to {self.most:g}"
            raise ValueError(f"must be {wanted}, not {value}")


@dataclass(frozen=True)
class Pattern:
    """Form of a text.

    Attributes:
        expression: regular expression that the whole text matches.
        wanted: the same in words, for errors.
    """

    expression: str
    wanted: str

    def check(self, value: Any) -> None:
        """Check a text; see `Check`."""
        if not re.fullmatch(self.expression, value):
            raise ValueError(f"must be {self.wanted}, not {_short(value)}")


FILE_NAME = Pattern(
    r"\w[\w .+-]{0,99}",
    "a plain file name (letters, digits, '_', '-', '+', '.', spaces; at most 100; no folders)",
)
"""A text that names a file in its folder, and nothing outside."""


class Choice:
    """One of the given names, for names that are known only at run time.

    Args:
        what: kind of the names, for error messages.
        names: the valid names.
    """

    def __init__(self, what: str, names: Collection[str]) -> None:
        self._what, self._names = what, names

    def check(self, value: Any) -> None:
        """Check a name; see `Check`."""
        if value not in self._names:
            raise unknown_at("", f"{self._what} {_short(value)}", value, self._names)


def read(kind: type[T], value: Any, path: str = "") -> T:
    """Read a value as a dataclass, or as any other annotation of the module's list.

    Args:
        kind: the dataclass.
        value: what YAML gave.
        path: of the value in its file, for errors; empty for the whole file.

    Raises:
        SchemaError: a key is unknown or missing (the valid ones are listed), or a value is of the
            wrong type or refused by a check or the dataclass.
    """
    result: T = _read(kind, value, path)
    return result


@dataclass(frozen=True)
class Former:
    """What became of a key of an earlier version.

    Attributes:
        key: its name now.
        convert: from the former value to the present one.
    """

    key: str
    convert: Callable[[Any], Any] = lambda value: value


def with_current_keys(kind: type, value: Mapping[Any, Any], path: str = "") -> dict[Any, Any]:
    """Return a mapping with the present names of a dataclass' former keys, and warn of those.

    Raises:
        SchemaError: a key has both names.
    """
    former: Mapping[str, Former] = getattr(kind, "former_keys", {})
    current = dict(value)
    for key in former.keys() & current.keys():
        now = former[key]
        if now.key in current:
            raise error_at(joined(path, key), f"is the former name of '{now.key}'; give one")
        logging.getLogger(__name__).warning(
            "%s: '%s' is the former name of '%s'", joined(path, key), key, now.key
        )
        current[now.key] = now.convert(current.pop(key))
    return current


def error_at(path: str, problem: str) -> SchemaError:
    """Return the error of a value."""
    return SchemaError(f"{path}: {problem}" if path else problem)


def check_at(path: str, check: Check, value: Any) -> None:
    """Check a value.

    Raises:
        SchemaError: it does not meet the condition.
    """
    try:
        check.check(value)
    except ValueError as error:
        raise error_at(path, str(error)) from error


def unknown_at(path: str, what: str, name: object, valid: Collection[str]) -> SchemaError:
    """Return the error of an unknown name, with the nearest and all valid ones.

    Args:
        path: of the value that holds the name.
        what: the name is, such as "key".
        name: the name.
        valid: the valid ones.
    """
    nearest = difflib.get_close_matches(str(name), valid, 1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ";"
    return error_at(path, f"unknown {what}{hint} valid: {', '.join(valid)}")


def joined(path: str, key: object) -> str:
    """Return the path of a key of the mapping at a path."""
    return f"{path}.{key}" if path else str(key)


class OneOf:
    """Reads a choice: a name, or a mapping of a name to the settings of its dataclass."""

    def __init__(self, kinds: Mapping[str, type]) -> None:
        self._kinds = kinds

    def __call__(self, value: Any, path: str) -> Any:
        """Return the dataclass of the name.

        Raises:
            SchemaError: there is none of that name, or its settings are wrong.
        """
        name, settings = named(value, path, self._kinds)
        return _read(self._kinds[name], settings, joined(path, name))


def named(value: Any, path: str, names: Mapping[str, Any]) -> tuple[str, Any]:
    """Return name and settings out of NAME or {NAME: settings}.

    Raises:
        SchemaError: it is neither, or the name is unknown; the valid ones are listed.
    """
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise error_at(path, f"must be one of {', '.join(names)}, with its settings")
    ((name, settings),) = value.items()
    if name not in names:
        raise unknown_at(joined(path, name), "name", name, names)
    return name, {} if settings is None else settings


def _read(kind: Any, value: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        return _read_annotated(arguments[0], arguments[1], value, path)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, path)
    if is_dataclass(kind):
        return _read_dataclass(kind, value, path)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
        raise _wrong(path, f"one of {', '.join(map(str, arguments))}", value)
    if origin is tuple:
        return _read_tuple(arguments, value, path)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(path, "a mapping", value)
        key_kind, value_kind = arguments
        return {
            _read(key_kind, k, f"key {joined(path, k)}"): _read(value_kind, v, joined(path, k))
            for k, v in value.items()
        }
    return _read_scalar(kind, value, path)


def _read_annotated(
    kind: Any, extra: Check | Callable[[Any, str], Any], value: Any, path: str
) -> Any:
    if callable(extra):
        return extra(value, path)
    result = _read(kind, value, path)
    check_at(path, extra, result)
    return result


def _read_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _read(kinds[0], value, path)
    for kind in kinds:  # of scalars
        try:
            return _read(kind, value, path)
        except SchemaError:
            continue
    raise _wrong(path, " or ".join(_SCALARS[kind] for kind in kinds), value)


def _read_dataclass(kind: Any, value: Any, path: str) -> Any:
    known = {str(field.metadata.get("key", field.name)): field for field in fields(kind)}
    if not isinstance(value, Mapping):
        raise _wrong(path, f"a mapping with the keys {', '.join(known)}", value)
    value = with_current_keys(kind, value, path)
    for key in value:
        if key not in known:
            raise unknown_at(joined(path, key), "key", key, known)
    for key, field in known.items():
        if key not in value and _required(field):
            raise error_at(joined(path, key), f"missing; valid keys: {', '.join(known)}")
    hints = hints_of(kind, include_extras=True)
    settings = {
        known[key].name: _read(hints[known[key].name], v, joined(path, key))
        for key, v in value.items()
    }
    try:
        return kind(**settings)
    except SchemaError as error:
        raise SchemaError(joined(path, error)) from error
    except ValueError as error:
        raise error_at(path, str(error)) from error


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _read_tuple(kinds: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(path, "a list", value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _wrong(path, f"a list of {len(kinds)}", value)
    return tuple(
        _read(kind, v, f"{path}[{i}]")
        for i, (kind, v) in enumerate(zip(kinds, value, strict=True))
    )


_SCALARS = {int: "an integer", float: "a finite number", bool: "true or false", str: "text"}


def _read_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:  # a text too: YAML 1.1 reads 1e-5 as one
            value = float(value)
        except (OverflowError, TypeError, ValueError):
            raise _wrong(path, _SCALARS[kind], value) from None
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise _wrong(path, _SCALARS[kind], value)
    return value


def _wrong(path: str, wanted: str, value: Any) -> SchemaError:
    return error_at(path, f"must be {wanted}, not {_short(value)}")


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 8
_short = _REPR.repr
