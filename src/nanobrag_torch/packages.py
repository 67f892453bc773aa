"""The fast kernels as operations: compiled where the package of a precision is on disk, else evaluated eagerly.

A package holds every operation, compiled ahead of time for any number of pixels and directions (`compilation`); using
it imports no compiler.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import fused
from .config import CrystalShape
from .kernel_cache import COMPILED_PRECISIONS, CompilationError, package_path, warm_up, whole
from .recompute import differentiated

WORK = {"float64": torch.float64, "mixed": torch.float32}
"""Each precision's dtype after the reduction of indices."""
FEWEST = 2
"""Pixels of the smallest compiled call."""

ALONE = (CrystalShape.SQUARE,)
"""Shapes with operations of their own for a few directions, and for directions with forms but without factors; others
take factors of 1."""

SIZES = {
    "pixels": ("P",), "pairs": ("P", "J"), "maps": (12, "J"), "map rows": ("J", 12), "form rows": ("J", 7),
    "map": (12,), "lattice": (12,), "raster": (5,), "axes": (3, 3), "omega": (3,), "form": (7,), "sensor": (7,),
    "table": ("N",), "box": (6,), "layer": (5,), "terms": ("P", "J"), "slopes": ("P", "3J"),
}
"""What operations take and give: numbers of elements, or letters for what may be any."""
OPEN = ("P", "J", "N")
REDUCED = ("lattice", "form rows", "terms", "slopes")
"""What is in the dtype after the reduction of indices; all else is float64."""
_FRAME = ("raster", "axes", "omega", "form", "sensor")
_AT = ("pixels", "pixels", "pixels")


class Operation(NamedTuple):
    """A function of tensors, and what they and its results are in `SIZES`."""

    name: str
    function: Callable[..., Any]
    operands: tuple[str, ...]
    results: tuple[str, ...] = ("pixels",)

    @property
    def symbol(self) -> str:
        """Its name in a package."""
        return self.name.replace(" ", "_")


def dtype_of(kind: str, work: torch.dtype) -> torch.dtype:
    """The dtype of an operand or result."""
    return work if kind in REDUCED else torch.float64


def shape_of(kind: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an operand or result, of these open sizes."""
    known = {**sizes, "3J": 3 * sizes["J"]}
    return tuple(known.get(size, size) for size in SIZES[kind])


def tensor_like(kind: str, sizes: Mapping[str, int], work: torch.dtype) -> Tensor:
    """An operand or result of these open sizes."""
    return torch.empty(shape_of(kind, sizes), dtype=dtype_of(kind, work))


def operations() -> Iterator[Operation]:
    """Everything that a package holds, in its order."""
    yield Operation("look", _look, ("pixels", *_FRAME), ("pixels",) * 6)
    yield Operation("weighted sight", _weighted_sight, ("pixels", *_FRAME[:-1]), ("pixels",) * 4)
    yield Operation("nearest", _nearest, (*_AT, "maps", "table", "box"), ("pairs",))
    yield Operation("indices", _indices, (*_AT, "maps"), ("pairs",) * 3)
    yield Operation("cubic layer", _cubic_layer, (*_AT, "pixels", "layer", "table", "box"))
    for shape in CrystalShape:
        yield Operation(f"many {shape.value}", partial(_many, shape), (*_AT, "map rows", "lattice"))
        yield Operation(f"many weighted {shape.value}", partial(fused.many_directions, shape),
                        (*_AT, "pairs", "map rows", "form rows", "lattice"))
        if shape in ALONE:
            yield Operation(f"one {shape.value}", partial(_one, shape), (*_AT, *_FRAME, "map", "lattice"))
            yield Operation(f"one tabled {shape.value}", partial(_one_tabled, shape),
                            ("pixels", "pixels", "table", "box", *_FRAME, "map", "lattice"))
            yield Operation(f"many tabled {shape.value}", partial(_many_tabled, shape),
                            (*_AT, "table", "box", "map rows", "lattice"))
            yield Operation(f"many posed {shape.value}", partial(_many_posed, shape),
                            (*_AT, "map rows", "form rows", "lattice"))
        if shape in fused.SLOPES:
            yield Operation(f"slopes {shape.value}", partial(fused.slopes, shape), (*_AT, "maps", "lattice"),
                            ("terms", "slopes"))


class Package:
    """The compiled package of a precision, loaded: a library of functions of addresses and sizes.

    Raises OSError if it does not run here.
    """

    def __init__(self, precision: str, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._work = WORK[precision]
        self._entries = {operation.name: (operation, library[operation.symbol]) for operation in operations()}
        for _, function in self._entries.values():
            function.restype = None

    def run(self, name: str, operands: tuple[Tensor, ...], room: list[Tensor] | None = None) -> Any:
        """The result of one operation on contiguous operands; `room` as for `Kernels`. Raises ValueError for operands
        that are none of its."""
        operation, function = self._entries[name]
        given = tuple((operand.dtype, operand.shape, operand.is_cpu) for operand in operands)
        sizes, expected = _fitted(operation, self._work, given)
        results = [] if room is None else room
        if [(result.dtype, result.shape) for result in results] != expected:
            results[:] = (torch.empty(shape, dtype=dtype) for dtype, shape in expected)
        addresses = [tensor.data_ptr() for tensor in (*operands, *results)]
        function((ctypes.c_void_p * len(addresses))(*addresses), sizes)
        return results[0] if len(results) == 1 else tuple(results)


@lru_cache
def _fitted(operation: Operation, work: torch.dtype, given: tuple[tuple[torch.dtype, torch.Size, bool], ...],
            ) -> tuple[Any, list[tuple[torch.dtype, tuple]]]:
    """The open sizes of what an operation is given, as it reads them, and dtypes and shapes of its results."""
    sizes = dict.fromkeys(OPEN, 0)
    for kind, (_, shape, _) in zip(operation.operands, given, strict=True):
        sizes.update((size, count) for size, count in zip(SIZES[kind], shape, strict=True) if size in sizes)
    for kind, found in zip(operation.operands, given, strict=True):
        expected = dtype_of(kind, work), shape_of(kind, sizes), True
        if found != expected:
            raise ValueError(f"{operation.name}: {kind}: expected dtype, shape, whether on the CPU {expected}, "
                             f"got {found}")
    results = [(dtype_of(kind, work), shape_of(kind, sizes)) for kind in operation.results]
    return (ctypes.c_int64 * len(sizes))(*sizes.values()), results


class Kernels:
    """The operations of one precision: compiled where a package is given, else evaluated eagerly.

    Differentiation, and anything that asks for it, always takes the eager function, which is the same one.
    """

    def __init__(self, precision: str, package: Package | None = None) -> None:
        self.work = WORK[precision]
        self.functions = {operation.name: operation.function for operation in operations()}
        self._package = package

    def __call__(self, name: str, *operands: Tensor, room: list[Tensor] | None = None) -> Any:
        """The result of an operation: a tensor, or a tuple of them.

        `room`, empty at first, lists the results of the last call, whose memory those of this one may take: long lists
        that are freed and made anew, others between them, would leave holes too small for the next.
        """
        if self._package is None or operands[0].numel() < FEWEST or differentiated(*operands):
            return self.functions[name](*operands)
        return self._package.run(name, tuple(operand.contiguous() for operand in operands), room)


def at_hand(precision: str, *, must: bool, worth: bool) -> Kernels | None:
    """The compiled kernels of a precision, made first if they must be there or are worth the wait.

    Raises `CompilationError` where they must be there and cannot; otherwise that is a warning.
    """
    kernels = load(precision)
    if kernels is not None or precision not in COMPILED_PRECISIONS or not (must or worth):
        return kernels
    try:
        warm_up((precision,))
    except CompilationError as error:
        if must:
            raise
        warnings.warn(f"no compiled kernels: {error}", stacklevel=3)
    kernels = load(precision)
    if kernels is None and must:
        raise CompilationError(f"expected a library that can be loaded, got {package_path(precision)}")
    return kernels


def load(precision: str) -> Kernels | None:
    """The compiled kernels of a precision if their package is on disk and runs here."""
    if precision not in COMPILED_PRECISIONS:
        return None
    try:
        path = package_path(precision)
        return _loaded(precision, path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache
def _loaded(precision: str, path: Path, _made_ns: int) -> Kernels | None:
    try:
        return Kernels(precision, Package(precision, path)) if whole(path) else None
    except OSError:
        return None


def _one(shape: CrystalShape, ordinal: Tensor, total: Tensor, factor: Tensor, *rest: Tensor) -> Tensor:
    return fused.one_direction(shape, ordinal, total, factor, fused.Frame(*rest[:5]), *rest[5:])


def _one_tabled(shape: CrystalShape, ordinal: Tensor, total: Tensor, table: Tensor, box: Tensor,
                *rest: Tensor) -> Tensor:
    return fused.one_direction(shape, ordinal, total, fused.Table(table, box), fused.Frame(*rest[:5]), *rest[5:])


def _many(shape: CrystalShape, x: Tensor, y: Tensor, z: Tensor, maps: Tensor, lattice: Tensor) -> Tensor:
    return fused.many_directions(shape, x, y, z, None, maps, None, lattice)


def _many_posed(shape: CrystalShape, x: Tensor, y: Tensor, z: Tensor, *rest: Tensor) -> Tensor:
    return fused.many_directions(shape, x, y, z, None, *rest)


def _many_tabled(shape: CrystalShape, x: Tensor, y: Tensor, z: Tensor, table: Tensor, box: Tensor, maps: Tensor,
                 lattice: Tensor) -> Tensor:
    return fused.many_directions(shape, x, y, z, fused.Table(table, box), maps, None, lattice)


def _indices(x: Tensor, y: Tensor, z: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
    return fused.indices(x[:, None], y[:, None], z[:, None], maps)


def _look(ordinal: Tensor, *frame: Tensor) -> tuple[Tensor, ...]:
    return fused.look(ordinal, fused.Frame(*frame))


def _weighted_sight(ordinal: Tensor, *frame: Tensor) -> tuple[Tensor, ...]:
    return fused.weighted_sight(ordinal, fused.Frame(*frame, sensor=None))


def _nearest(x: Tensor, y: Tensor, z: Tensor, maps: Tensor, *table: Tensor) -> Tensor:
    return fused.nearest_everywhere(x, y, z, maps, fused.Table(*table))


def _cubic_layer(h: Tensor, k: Tensor, l: Tensor, total: Tensor, layer: Tensor, *table: Tensor) -> Tensor:  # noqa: E741
    return fused.cubic_layer(h, k, l, total, layer, fused.Table(*table))
