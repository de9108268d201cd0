# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Tables that pandas before 3.0 pickled, read without it and without running what the file says.

A pickle is a program: it names functions and calls them. Here only the names by which pandas and
NumPy write a table down are known, and all of them stand for what collects their arguments: not
even NumPy's own functions are called, which would take bytes for addresses of objects. Arrays of
numbers are made of what was collected. Any other name is refused.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.datasets.reading import DatasetError, found_in

_NUMBERS = "biuf"
"""Kinds of NumPy's types: booleans, integers and floats."""


class _Recorded:
    """Stands for an object: what it was made of, and the state it was given."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Table(_Recorded):
    """A DataFrame."""


class _Blocks(_Recorded):
    """A BlockManager: arrays of one type each, and the places of their columns."""


class _Block(_Recorded):
    """An array [columns, rows] and the places of its columns."""


class _Index(_Recorded):
    """Names of columns or rows."""


class _NewIndex(_Recorded):
    """An index: its kind, and the names in a dictionary."""


class _Dtype(_Recorded):
    """A type of numbers: its name; the state has the order of bytes."""


class _Array(_Recorded):
    """An array; its state: version, shape, type, whether in Fortran's order, and bytes or list."""


class _Buffer(_Recorded):
    """An array: bytes, type, shape and order."""


class _Kind:
    """The class of arrays, which their maker is given."""


_KNOWN: dict[tuple[str, str], Any] = {
    ("pandas.core.frame", "DataFrame"): _Table,
    ("pandas.core.internals.managers", "BlockManager"): _Blocks,
    ("pandas.core.internals", "BlockManager"): _Blocks,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas.core.indexes.base", "_new_Index"): _NewIndex,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.numeric", "Int64Index"): _Index,
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("builtins", "slice"): slice,
    ("numpy", "ndarray"): _Kind,
    ("numpy", "dtype"): _Dtype,
    **{
        (f"numpy.{core}.{module}", name): record
        for core in ("core", "_core")
        for module, name, record in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Recorded),
            ("numeric", "_frombuffer", _Buffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no plain table of numbers needs. If you "
                "trust the file, load it with pandas (before 3.0), make all columns numbers, and "
                "save it with to_pickle"
            ) from None


def read_table(path: Path, columns: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read columns of a DataFrame of `DataFrame.to_pickle`, gzip-compressed.

    Args:
        path: the .pkl.gz file.
        columns: names of those wanted.

    Returns:
        Column by name, [rows] each.

    Raises:
        DatasetError: the file is missing or damaged, holds something else, or lacks a column.
    """
    if not path.is_file():
        raise DatasetError(f"no {path}: {found_in(path.parent)}")
    try:
        with gzip.open(path) as file:
            table = _columns(_Unpickler(file).load())
    except Exception as error:  # a damaged pickle ends in whatever it trips over
        raise DatasetError(f"cannot read {path}: {error or repr(error)}") from error
    if missing := [name for name in columns if name not in table]:
        raise DatasetError(f"{path} has no column {missing[0]}; its columns are {sorted(table)}")
    return {name: table[name] for name in columns}


def _columns(table: Any) -> dict[str, npt.NDArray[Any]]:
    if not isinstance(table, _Table):
        raise pickle.UnpicklingError(f"it holds no DataFrame but {type(table).__name__}")
    manager = table.state.get("_mgr", table.state.get("_data"))
    if manager.arguments:  # pandas 1.3 and later: blocks, and an index for each axis
        blocks, (items, _) = manager.arguments[:2]
        parts = [(block.arguments[0], block.arguments[1]) for block in blocks]
    else:  # as old as PandaSet's own: the state says the same in a form kept since pandas 0.14.1
        kept = manager.state[3]["0.14.1"]
        items, parts = kept["axes"][0], [(b["values"], b["mgr_locs"]) for b in kept["blocks"]]
    names = _array(items.arguments[1]["data"])
    return {
        str(name): column
        for values, places in parts
        for name, column in zip(
            names[places if isinstance(places, slice) else _array(places)],
            np.atleast_2d(_array(values)),
            strict=True,
        )
    }


def _array(recorded: Any) -> npt.NDArray[Any]:
    """Array that was recorded: of numbers, or of whatever a list holds.

    Raises:
        UnpicklingError: it is none of these.
    """
    if isinstance(recorded, _Buffer):
        data, dtype, shape, order = recorded.arguments
    elif isinstance(recorded, _Array) and recorded.state is not None:
        _, shape, dtype, fortran, data = recorded.state
        order = "F" if fortran else "C"
    else:
        raise pickle.UnpicklingError(f"an array was expected, not {type(recorded).__name__}")
    if isinstance(data, list):
        objects = np.empty(len(data), dtype=object)
        objects[:] = data
        return objects.reshape(shape, order=order)
    name, byte_order = str(dtype.arguments[0]), str(dtype.state[1])
    if name[:1] not in _NUMBERS:
        raise pickle.UnpicklingError(f"arrays of type '{name}' are no numbers")
    numbers = np.frombuffer(data, np.dtype(f"{byte_order}{name}"))
    return numbers.reshape(shape, order=order)
