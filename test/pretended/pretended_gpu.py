# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A pretended GPU: tensors that say cuda:0 and compute on the CPU.

    import pretended_gpu  # before the package, see below

    with pretended_gpu.started() as log:
        ...  # torch.cuda.is_available(), tensor.to("cuda"), tensor.device == cuda:0
    log.waits  # times that the host would wait for the device, by line of the package

An operation between this GPU and the CPU raises `MixedDevicesError`, as a real one would (CPU
tensors of no dimension may take part). Operations are counted as the kernel launches that they
would be on a GPU, an estimate for those of several kernels. Our Triton kernels are one launch
each: those of the voxelization run under Triton's interpreter; those of convolutions, which would
be slow, are replaced by PyTorch's operations, and have tests of their own.

Not seen this way: time, faults of kernels, limits of dtypes on CUDA, and backward passes.

PyTorch's inference mode is replaced by no_grad for good: tensors of this kind have no place for
version counters. Functions are decorated when the package is imported, so this module comes
first, in a process of its own. The first use compiles device_guard.cpp with g++.
"""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.cpp_extension import include_paths, library_paths

DEVICE = torch.device("cuda:0")
PACKAGE = "minkowski_perception"

if f"{PACKAGE}.segmenter" in sys.modules:
    raise ImportError(f"import pretended_gpu before {PACKAGE}")
os.environ["TRITON_INTERPRET"] = "1"
torch.inference_mode = lambda *_args, **_kwargs: torch.no_grad()

_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
_NO_LAUNCH = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("_unsafe_view", "_reshape_alias", "lift_fresh", "resize_", "set_", "_local_scalar_dense"),
}
# Kernels that one operation launches, roughly, on 1e4 to 1e6 integers; 1 where not listed.
_LAUNCHES = {
    **{"sort": 12, "_unique2": 16, "unique_dim": 30, "unique_consecutive": 8, "nonzero": 4},
    **{"masked_select": 6, "bincount": 5, "cumsum": 2, "aminmax": 2, "equal": 2},
    **{"embedding_bag": 3, "_embedding_bag_forward_only": 3},
}
# Operations whose result, or its size, the host has to wait for.
_WAITS = {
    **{"_local_scalar_dense": "item or bool", "equal": "torch.equal", "nonzero": "nonzero"},
    **{"masked_select": "boolean index", "_unique2": "unique", "unique_dim": "unique"},
    **{"unique_consecutive": "unique", "bincount": "bincount"},
}


class MixedDevicesError(RuntimeError):
    """An operation has operands on the GPU and on the CPU."""


class Log:
    """What ran on the pretended GPU since `clear`.

    Attributes:
        launches: estimated kernel launches, by operation.
        sequence: the operations in their order, with the shapes of their results.
        tape: those of the graph that is being recorded; None while none is.
        waits: times that the host waits for the device, by kind and line of the package.
    """

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()
        self.sequence: list[tuple[Any, ...]] = []
        self.tape: list[Callable[[], Any]] | None = None
        self.waits: Counter[tuple[str, str]] = Counter()

    def clear(self) -> None:
        """Start anew."""
        self.launches.clear()
        self.sequence.clear()
        self.waits.clear()

    def ran(self, name: str, *results: Any) -> None:
        """Count an operation that gave some tensors."""
        self.launches[name] += _LAUNCHES.get(name, 1)
        self.sequence.append((name, *(tuple(each.shape) for each in results)))

    def waited(self, kind: str) -> None:
        """Count a wait, at the line of the package that now runs; graphs allow none."""
        if self.tape is not None:
            raise RuntimeError(f"a graph can't wait: {kind}, {site()}")
        self.waits[kind, site()] += 1


log = Log()


def site() -> str:
    """Return the innermost line of the package that is being run, as "file:line its text"."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        _, found, inside = file.rpartition(f"/{PACKAGE}/")
        if found:
            text = linecache.getline(file, frame.f_lineno).strip()
            return f"{inside}:{frame.f_lineno} {text[:70]}"
        frame = frame.f_back
    return "outside of the package"


class PretendedTensor(Tensor):
    """A CPU tensor, `inner`, that says it is on the GPU."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> PretendedTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=DEVICE,
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"PretendedTensor({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation that has such a tensor among its operands."""
        return _run(func, args, kwargs or {})

    def __deepcopy__(self, memo: Any) -> PretendedTensor:
        copied = PretendedTensor(self.inner.clone())
        copied._is_param = getattr(self, "_is_param", False)  # what isinstance(_, Parameter) asks
        return copied

    def tolist(self) -> Any:
        """Wait, and return the numbers."""
        log.waited("tolist")
        return self.inner.tolist()

    def numpy(self, *_args: Any, **_kwargs: Any) -> Any:
        """Refuse, as CUDA tensors do."""
        raise TypeError(f"can't convert a tensor on {DEVICE} to NumPy, at {site()}")

    __array__ = numpy

    def data_ptr(self) -> int:
        """Return what tells this tensor's memory from others'."""
        return self.inner.data_ptr()


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation: one without such operands may be asked to make one."""
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name.partition("::")[2]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, PretendedTensor)]
    target = kwargs.get("device")
    to = None if target is None else torch.device(target).type
    if not ours and to != "cuda":
        return func(*args, **kwargs)
    if name == "copy_":
        return _copy_into(func, args, kwargs)
    if name == "_to_copy":
        return _to_copy(func, args[0], {k: v for k, v in kwargs.items() if k != "device"}, to)
    if ours:
        _refuse_mixed(func, name, args, tensors)
    if to == "cuda":
        kwargs = {**kwargs, "device": "cpu"}
    if name in _WAITS:
        log.waited(_WAITS[name])
    elif name == "repeat_interleave" and kwargs.get("output_size") is None:
        log.waited("repeat")
    elif name in _INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1]):
        log.waited("boolean index")
        log.ran("nonzero")
    operands = tree_map(_inner, args), tree_map(_inner, kwargs)
    result = func(*operands[0], **operands[1])
    if log.tape is not None and not func.is_view:
        log.tape.append(partial(_repeat, func, operands, result))
    if not func.is_view and name not in _NO_LAUNCH:
        log.ran(name, *(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)))
    if to == "cpu":
        return result
    known = {id(tensor.inner): tensor for tensor in ours}  # operations in place return an argument

    def wrap(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return known[id(leaf)] if id(leaf) in known else PretendedTensor(leaf)

    return tree_map(wrap, result)


def _inner(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, PretendedTensor) else leaf


def _repeat(func: Any, operands: tuple[Any, Any], results: Any) -> None:
    """Compute an operation of a graph again, into the same memory."""
    again = func(*operands[0], **operands[1])
    for new, old in zip(tree_leaves(again), tree_leaves(results), strict=True):
        if isinstance(old, Tensor) and new is not old:
            old.copy_(new)


class _Graph:
    """A CUDA graph: operations that are repeated with the same operands and results."""

    tape: list[Callable[[], Any]]

    def replay(self) -> None:
        """Repeat them, as one launch."""
        log.ran("graph")
        with _disable_current_modes():
            for operation in self.tape:
                operation()


@contextmanager
def _recording(graph: _Graph, **_: Any) -> Iterator[None]:
    log.tape = graph.tape = []
    try:
        yield
    finally:
        log.tape = None


def _transferred(to: str, blocks: bool) -> None:
    if blocks:
        log.waited(f"to {to}")
    elif log.tape is not None:
        raise RuntimeError(f"a graph would copy the same from the host each time, {site()}")


def _copy_into(func: Any, args: Any, kwargs: Any) -> Tensor:
    target, source = args[:2]
    if isinstance(target, PretendedTensor) == isinstance(source, PretendedTensor):
        log.ran("copy_")
        if log.tape is not None:
            log.tape.append(partial(func, *tree_map(_inner, args), **kwargs))
    else:
        blocks = not any(args[2:]) and not kwargs.get("non_blocking")
        _transferred("device" if isinstance(target, PretendedTensor) else "host", blocks)
    func(*tree_map(_inner, args), **kwargs)
    return target


def _to_copy(func: Any, source: Tensor, kwargs: dict[str, Any], to: str | None) -> Tensor:
    """Convert, and move if the other side is asked for."""
    here = isinstance(source, PretendedTensor)
    there = here if to is None else to == "cuda"
    result: Tensor = func(_inner(source), **kwargs)
    if here and (there or result.dtype != source.dtype):
        log.ran("_to_copy")
        if log.tape is not None:
            log.tape.append(partial(_repeat, func, ((_inner(source),), kwargs), result))
    if here != there:
        _transferred("device" if there else "host", not kwargs.get("non_blocking"))
    return PretendedTensor(result) if there else result


def _refuse_mixed(func: Any, name: str, args: Any, tensors: list[Tensor]) -> None:
    strangers = [t for t in tensors if not isinstance(t, PretendedTensor) and t.dim() > 0]
    if not strangers:
        return
    indices = args[1] if name in _INDEXING and isinstance(args[0], PretendedTensor) else ()
    if all(any(index is t for index in indices) for t in strangers):  # PyTorch moves them
        _transferred("device", blocks=True)
        return
    sides = [
        ("cuda" if isinstance(t, PretendedTensor) else "cpu", tuple(t.shape)) for t in tensors
    ]
    raise MixedDevicesError(f"{func} between {sides} at {site()}")


class _Stream:
    """The one stream; what is asked of it is to wait for it."""

    def synchronize(self) -> None:
        log.waited("synchronize")


class _Event:
    """A time; the package asks for it after it has copied a result to the host."""

    def __init__(self, enable_timing: bool) -> None: ...

    def record(self, _: Any) -> None:
        self.seconds = time.perf_counter()

    def synchronize(self) -> None: ...

    def elapsed_time(self, later: _Event) -> float:
        return 1e3 * (later.seconds - self.seconds)


class _Interpreted:
    """A kernel of ours under Triton's interpreter."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def __getitem__(self, grid: Any) -> Any:
        return partial(self.launch, grid)

    def launch(self, grid: Any, *args: Any, **constants: Any) -> None:
        """Run it, and again when a graph is replayed."""
        if not all(isinstance(each, PretendedTensor) for each in args if isinstance(each, Tensor)):
            raise TypeError("the kernel wants all operands on the GPU")
        log.ran(self._kernel.fn.__name__, *(each for each in args if isinstance(each, Tensor)))
        operands = [_inner(each) for each in args]

        def run() -> None:
            with _disable_current_modes():
                self._kernel[grid](*operands, **constants)

        if log.tape is not None:
            log.tape.append(run)
        run()


class _Table:
    """What `table_kernel` writes."""

    def __getitem__(self, grid: Any) -> Any:
        return self.launch

    def launch(self, *args: Any, **how: Any) -> None:
        log.ran("table_kernel", args[4])
        if log.tape is not None:
            log.tape.append(partial(self._write, args, how))
        self._write(args, how)

    def _write(self, args: Any, how: Any) -> None:
        first, second, targets, deltas, rows, codes, *_, second_row, _ = map(_inner, args)
        from minkowski_perception.sparse.capacity import PADDING

        part = how["PART"]
        with _disable_current_modes():
            words = torch.zeros(len(codes) // len(targets), len(targets), dtype=torch.int32)
            for k in range(how["K"]):
                keys, shift = (first, 0) if k < how["FIRST_K"] else (second, second_row)
                wanted = targets + deltas[k]
                low = torch.searchsorted(keys, wanted).clamp(max=max(0, len(keys) - 1))
                found = keys[low] if len(keys) else torch.full_like(wanted, PADDING)
                hit = (found == wanted) & (targets != PADDING)
                rows[k] = torch.where(hit, low + shift, -1).int()
                words[k // part] |= hit.int() << k % part
            parts = torch.arange(len(words), dtype=torch.int32)[:, None]
            codes.copy_(((parts << part) + ((1 << part) - 1 - words)).view(-1))


class _Convolution:
    """What `convolution_kernel` writes."""

    def __getitem__(self, grid: Any) -> Any:
        return self.launch

    def launch(self, *args: Any, **how: Any) -> None:
        log.ran("convolution_kernel", args[8])
        if log.tape is not None:
            log.tape.append(partial(self._write, args, how))
        self._write(args, how)

    def _write(self, args: Any, how: Any) -> None:
        if not all(isinstance(leaf, PretendedTensor) for leaf in args[:-3]):
            raise TypeError("the kernel wants all operands on the GPU")
        x, w, rows, _, _, partial, bias, residual, out, _, part, per_part = map(_inner, args)
        with _disable_current_modes():
            total = partial.float().clone() if how["PARTIAL"] else torch.zeros(out.shape)
            for k in range(part * per_part, min(len(w), (part + 1) * per_part)):
                row = torch.arange(len(total)) if how["SAME"] else rows[k]
                there = torch.nonzero(row >= 0)[:, 0]
                if len(there):
                    total.index_add_(0, there, x.float()[row[there].long()] @ w[k].float())
            total += bias.float() if how["BIAS"] else 0.0
            total += residual.float() if how["RESIDUAL"] else 0.0
            out.copy_(torch.relu(total) if how["RELU"] else total)


def _load_guard() -> None:
    source = Path(__file__).with_name("device_guard.cpp")
    folder = Path(tempfile.gettempdir()) / f"pretended_gpu_{os.getuid()}"
    library = folder / f"device_guard_{torch.__version__}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        built = library.with_suffix(f".{os.getpid()}")
        command = [
            *("g++", "-std=c++20", "-O1", "-shared", "-fPIC", str(source), "-o", str(built)),
            *(f"-I{path}" for path in include_paths()),
            *(f"-L{path}" for path in library_paths()),
            "-lc10",
        ]
        subprocess.run(command, check=True)
        built.rename(library)
    torch.ops.load_library(str(library))


_load_guard()


@contextmanager
def started() -> Iterator[Log]:
    """Let PyTorch believe in the GPU; the log counts from here."""
    log.clear()
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        stack.enter_context(
            mock.patch.multiple(
                torch.cuda,
                is_available=lambda: True,
                device_count=lambda: 1,
                current_device=lambda: 0,
                device=lambda _: nullcontext(),
                current_stream=lambda *_: _Stream(),
                is_current_stream_capturing=lambda: log.tape is not None,
                CUDAGraph=_Graph,
                graph=_recording,
                Event=_Event,
                get_device_name=lambda *_: "pretended",
                is_bf16_supported=lambda *_args, **_kwargs: True,
                synchronize=lambda *_args, **_kwargs: log.waited("synchronize"),
                empty_cache=lambda: None,
                reset_peak_memory_stats=lambda *_args, **_kwargs: None,
                memory_allocated=lambda *_args, **_kwargs: 0,
                max_memory_allocated=lambda *_args, **_kwargs: 0,
                _lazy_init=lambda: None,
            )
        )
        stack.enter_context(mock.patch.object(Tensor, "pin_memory", lambda self, *_: self))
        # torch.tensor(list, device="cuda") is made on the CPU and then moved, as it is in truth.
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        try:
            from minkowski_perception.sparse import implicit_gemm
        except ImportError:  # no Triton: its engine is refused
            pass
        else:
            kernels = {"table_kernel": _Table(), "convolution_kernel": _Convolution()}
            stack.enter_context(mock.patch.multiple(implicit_gemm, **kernels))
            from minkowski_perception.streaming import device_voxels

            # Few programs, as the interpreter is slow.
            interpreted = {
                name: _Interpreted(getattr(device_voxels, name))
                for name in ("point_kernel", "voxel_kernel")
            }
            rows = {"_POINT_ROWS": 2**13, "_VOXEL_ROWS": 2**13}
            stack.enter_context(mock.patch.multiple(device_voxels, **interpreted, **rows))
            from minkowski_perception.sparse import run_kernels
            from minkowski_perception.streaming import average_kernel

            for module, names in (
                (run_kernels, ("begin_kernel", "run_kernel")),
                (average_kernel, ("average_kernel",)),
            ):
                kernels = {name: _Interpreted(getattr(module, name)) for name in names}
                stack.enter_context(mock.patch.multiple(module, _ROWS=2**11, **kernels))
        stack.enter_context(_Mode())
        yield log
