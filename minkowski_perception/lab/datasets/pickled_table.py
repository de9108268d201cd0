# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Safe reader of DataFrames pickled by pandas before 3.0; needs no pandas.

A pickle is a program: it names functions and calls them. This reader accepts only the names that
pandas and NumPy use to pickle a table, and maps each to a class that records its arguments. Not
even NumPy's own functions are called, since they can interpret bytes as object addresses. Arrays
of numbers are then built from the recorded arguments. All other names are refused.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minkowski_perception.lab.datasets.reading import DatasetError, contents_of

_NUMBERS = "biuf"
"""Kinds of NumPy dtypes: booleans, integers and floats."""


class _Recorded:
    """Placeholder of an object: its constructor's arguments and its state."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Table(_Recorded):
    """A DataFrame."""


class _Blocks(_Recorded):
    """A BlockManager: arrays of one dtype each, and the positions of their columns."""


class _Block(_Recorded):
    """An array [columns, rows] and the positions of its columns."""


class _Index(_Recorded):
    """Names of columns or rows."""


class _NewIndex(_Recorded):
    """An index: its class, and a dictionary with the names."""


class _Dtype(_Recorded):
    """A dtype: its name; the state holds the byte order."""


class _Array(_Recorded):
    """An array; its state: version, shape, dtype, is-Fortran-order, and bytes or a list."""


class _Buffer(_Recorded):
    """An array: bytes, dtype, shape and order."""


class _Kind:
    """The class numpy.ndarray, an argument of `_reconstruct`."""


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
                f"it refers to {module}.{name}, which a table of numbers does not need; if you "
                "trust the file, load it with pandas before 3.0, convert all columns to numbers, "
                "and save it with to_pickle"
            ) from None


def read_table(path: Path, columns: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read columns of a gzip-compressed DataFrame that `DataFrame.to_pickle` wrote.

    Args:
        path: the .pkl.gz file.
        columns: names of the columns to read.

    Returns:
        Columns by name, [rows] each.

    Raises:
        DatasetError: the file is missing, damaged or not a DataFrame, or lacks a column.
    """
    if not path.is_file():
        raise DatasetError(f"no {path}: {contents_of(path.parent)}")
    try:
        with gzip.open(path) as file:
            table = _columns(_Unpickler(file).load())
    except Exception as error:  # a damaged pickle can raise any exception
        raise DatasetError(f"cannot read {path}: {error or repr(error)}") from error
    if missing := [name for name in columns if name not in table]:
        raise DatasetError(f"{path} has no column {missing[0]}; its columns are {sorted(table)}")
    return {name: table[name] for name in columns}


def _columns(table: Any) -> dict[str, npt.NDArray[Any]]:
    if not isinstance(table, _Table):
        raise pickle.UnpicklingError(f"it is a {type(table).__name__}, not a DataFrame")
    manager = table.state.get("_mgr", table.state.get("_data"))
    if manager.arguments:  # pandas 1.3 or later: blocks, and an index per axis
        blocks, (items, _) = manager.arguments[:2]
        parts = [(block.arguments[0], block.arguments[1]) for block in blocks]
    else:  # older, as in PandaSet: the same in the state, in the format of pandas 0.14.1
        kept = manager.state[3]["0.14.1"]
        items, parts = kept["axes"][0], [(b["values"], b["mgr_locs"]) for b in kept["blocks"]]
    names = _array(items.arguments[1]["data"])
    return {
        str(name): column
        for values, positions in parts
        for name, column in zip(
            names[positions if isinstance(positions, slice) else _array(positions)],
            np.atleast_2d(_array(values)),
            strict=True,
        )
    }


def _array(recorded: Any) -> npt.NDArray[Any]:
    """Build a recorded array, of numbers or of the objects in a list.

    Raises:
        UnpicklingError: `recorded` is not such an array.
    """
    if isinstance(recorded, _Buffer):
        data, dtype, shape, order = recorded.arguments
    elif isinstance(recorded, _Array) and recorded.state is not None:
        _, shape, dtype, fortran, data = recorded.state
        order = "F" if fortran else "C"
    else:
        raise pickle.UnpicklingError(f"expected an array, not {type(recorded).__name__}")
    if isinstance(data, list):
        objects = np.empty(len(data), dtype=object)
        objects[:] = data
        return objects.reshape(shape, order=order)
    name, byte_order = str(dtype.arguments[0]), str(dtype.state[1])
    if name[:1] not in _NUMBERS:
        raise pickle.UnpicklingError(f"array of dtype '{name}' is not numeric")
    numbers = np.frombuffer(data, np.dtype(f"{byte_order}{name}"))
    return numbers.reshape(shape, order=order)
