"""The fast kernels as compiled packages: made once per machine and precision, kept on disk, loaded in a moment.

The package of a precision holds every operation, compiled ahead of time for any number of pixels and directions; using
it imports no compiler. Each operation has its own dynamic sizes; those that a call does not want get a few
elements, which costs about a microsecond each and lets one compilation serve them all.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import fused
from .config import CrystalShape
from .physics import structure_factor
from .recompute import differentiated

WORK = {"float64": torch.float64, "mixed": torch.float32}
"""Each precision's dtype after the reduction of indices."""
PRECISIONS = tuple(WORK)
PIXELS, DIRECTIONS = 4096, 128
"""Sizes for which the compiler arranges its loops; any size runs."""
FEWEST = 2
"""Size of what a call does not want."""

ALONE = (CrystalShape.SQUARE,)
"""Shapes with operations of their own for a few directions, and for directions with forms but without factors; others
take factors of 1."""

_SIZES = {
    "pixels": ("P",), "sum": ("P", "J"), "maps": (12, "J"), "map rows": ("J", 12),
    "form rows": ("J", 7), "map": (12,), "lattice": (13,), "raster": (5,), "axes": (3, 3), "omega": (3,), "form": (7,),
    "sensor": (7,), "table": ("N",), "box": (6,), "layer": (5,),
}
_FRAME = ("raster", "axes", "omega", "form", "sensor")
_AT = ("pixels", "pixels", "pixels")


class Operation(NamedTuple):
    """A function of tensors whose sizes are those of `_SIZES`: numbers, or letters for what may be any size."""

    name: str
    function: Callable[..., Any]
    operands: tuple[str, ...]
    results: int = 1

    def example(self, work: torch.dtype, pixels: int, directions: int) -> tuple[Tensor, ...]:
        """Operands of these sizes."""
        known = {"P": pixels, "J": directions, "N": max(64, pixels)}
        return tuple(
            torch.ones([known.get(size, size) for size in _SIZES[operand]],
                       dtype=work if operand == "lattice" else torch.float64) for operand in self.operands)

    def dynamic(self) -> tuple[dict[int, Any] | None, ...]:
        """Which sizes of each operand may change."""
        from torch.export import Dim

        letters = {letter: Dim(f"{letter}_{self.name.replace(' ', '_')}", min=FEWEST) for letter in "PJN"}
        return tuple({place: letters[size] for place, size in enumerate(_SIZES[operand]) if size in letters} or None
                     for operand in self.operands)


def operations() -> Iterator[Operation]:
    """Everything that a package holds, in its order."""
    yield Operation("look", _look, ("pixels", *_FRAME), 6)
    yield Operation("nearest", _nearest, (*_AT, "maps", "table", "box"))
    yield Operation("indices", _indices, (*_AT, "maps"), 3)
    yield Operation("cubic layer", _cubic_layer, (*_AT, "pixels", "layer", "table", "box"))
    for shape in CrystalShape:
        yield Operation(f"many {shape.value}", partial(_many, shape), (*_AT, "map rows", "lattice"))
        yield Operation(f"many weighted {shape.value}", partial(fused.many_directions, shape),
                        (*_AT, "sum", "map rows", "form rows", "lattice"))
        if shape in ALONE:
            yield Operation(f"one {shape.value}", partial(_one, shape), (*_AT, *_FRAME, "map", "lattice"))
            yield Operation(f"one tabled {shape.value}", partial(_one_tabled, shape),
                            ("pixels", "pixels", "table", "box", *_FRAME, "map", "lattice"))
            yield Operation(f"many tabled {shape.value}", partial(_many_tabled, shape),
                            (*_AT, "table", "box", "map rows", "lattice"))
            yield Operation(f"many posed {shape.value}", partial(_many_posed, shape),
                            (*_AT, "map rows", "form rows", "lattice"))
        if shape in fused.SLOPES:
            yield Operation(f"slopes {shape.value}", partial(fused.slopes, shape), (*_AT, "maps", "lattice"), 2)


class Package:
    """The compiled package of a precision, loaded."""

    def __init__(self, precision: str, path: Path) -> None:
        self._runner = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
        self._idle = {operation.name: operation.example(WORK[precision], FEWEST, FEWEST) for operation in operations()}
        counts = [operation.results for operation in operations()]
        self._places = {operation: (sum(counts[:place]), counts[place]) for place, operation in enumerate(self._idle)}

    def run(self, name: str, operands: tuple[Tensor, ...]) -> Any:
        """The result of one operation."""
        flat = [tensor for other, idle in self._idle.items() for tensor in (operands if other == name else idle)]
        results = self._runner.boxed_run(flat)
        start, count = self._places[name]
        return results[start] if count == 1 else tuple(results[start:start + count])


class Kernels:
    """The operations of one precision: compiled where a package is given, else evaluated eagerly.

    Differentiation, and anything that asks for it, always takes the eager function, which is the same one.
    """

    def __init__(self, precision: str, package: Package | None = None) -> None:
        self.work = WORK[precision]
        self.functions = {operation.name: operation.function for operation in operations()}
        self._package = package

    def __call__(self, name: str, *operands: Tensor) -> Any:
        """The result of an operation: a tensor, or a tuple of them."""
        if self._package is None or operands[0].numel() < FEWEST or differentiated(*operands):
            return self.functions[name](*operands)
        return self._package.run(name, tuple(operand.contiguous() for operand in operands))


class CompilationError(Exception):
    """Kernels could not be compiled."""


def at_hand(precision: str, *, must: bool, worth: bool) -> Kernels | None:
    """The compiled kernels of a precision, made first if they must be there or are worth the wait.

    Raises `CompilationError` where they must be there and cannot; otherwise that is a warning.
    """
    kernels = load(precision)
    if kernels is not None or precision not in PRECISIONS or not (must or worth):
        return kernels
    try:
        warm_up((precision,))
    except CompilationError as error:
        if must:
            raise
        warnings.warn(f"no compiled kernels: {error}", stacklevel=3)
    return load(precision)


def load(precision: str) -> Kernels | None:
    """The compiled kernels of a precision if their package is on disk and runs here."""
    return _loaded(precision, package_path(precision)) if precision in PRECISIONS else None


def cache_directory() -> Path:
    """Where packages are kept: $NANOBRAG_CACHE, or the user's cache folder."""
    given = os.environ.get("NANOBRAG_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nanobrag_torch"


def package_path(precision: str) -> Path:
    """The file of a package; its name changes with these sources, torch and the processor."""
    return cache_directory() / f"{precision}-{_fingerprint()}.pt2"


def compile_package(precision: str, target: Path) -> None:
    """Compile the operations of a precision; the package takes the place of the target when it is whole."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_aot
    from torch._inductor.package import package_aoti
    from torch.export import export

    examples = tuple(tensor for place, operation in enumerate(operations()) for tensor in operation.example(
        WORK[precision], PIXELS + 64 * place, DIRECTIONS + 8 * place))
    dynamic = tuple(sizes for operation in operations() for sizes in operation.dynamic())
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = target.with_name(f"{target.stem}.{os.getpid()}.pt2")
    with config.patch(_COMPILER_CONFIG), torch.no_grad():
        described = export(_Nothing(), (examples,), dynamic_shapes=(dynamic,)).graph_module
        files = compile_fx_aot(described, list(examples), partial(_compile_operations, _graph(WORK[precision])),
                               {"aot_inductor.package": True})
        package_aoti(str(made), files)
    os.replace(made, target)


def missing(precisions: tuple[str, ...] = PRECISIONS) -> list[str]:
    """Precisions whose packages are not on disk."""
    return [precision for precision in precisions if not package_path(precision).exists()]


def warm_up(precisions: tuple[str, ...] = PRECISIONS) -> list[str]:
    """Make the packages that are missing; returns their names.

    Raises `CompilationError` without a compiler, or with its last words.
    """
    wanted = missing(precisions)
    if wanted and shutil.which(_compiler()) is None:
        raise CompilationError(f"expected the C++ compiler {_compiler()} ($CXX) on the path, found none")
    words = _compile_apart(wanted) if wanted else ""
    if words:
        raise CompilationError(f"compiling kernels failed: {words}")
    _loaded.cache_clear()
    return wanted


def _compile_apart(wanted: list[str]) -> str:
    """Compile in another process, so that this one never imports the compiler; its last words if it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "nanobrag_torch.packages", *wanted], check=False, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, TORCHINDUCTOR_CACHE_DIR=scratch))
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def compile_packages(wanted: list[str]) -> None:
    """Compile packages side by side, in processes that share what importing the compiler took."""
    importlib.import_module("torch._inductor.compile_fx")
    importlib.import_module("torch._inductor.codegen.cpp_wrapper_cpu")
    # garbage of a compilation is little, and nobody reads where its nodes came from: both cost seconds
    gc.disable()
    torch.fx.config.do_not_emit_stack_traces = True
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        list(pool.map(compile_package, wanted, map(package_path, wanted)))


_COMPILER_CONFIG = {
    # one loop per operation: nothing between the Miller indices and the sum leaves the registers
    "realize_opcount_threshold": 200, "realize_acc_reads_threshold": 100,
    "cpp.enable_floating_point_contract_flag": "fast",
    # the number of threads is that of the run, not of the compilation
    "cpp.dynamic_threads": True,
    # the loops come out the same without weighing how to arrange them, which goes through each once more
    "cpp.enable_tiling_heuristics": False,
    # the processor's own list is believed; trying each instruction set takes seconds
    "cpp.vec_isa_ok": True,
    "assert_indirect_indexing": False,
    # checks of sizes that nothing runs, and that would have to be compiled
    "aot_inductor.check_lowerbound": False,
    # two files include torch's headers, which is quicker than preparing them and leaves nothing behind
    "aot_inductor.precompile_headers": False,
    # half the code to compile: the last few pixels of a call may go one by one
    "cpp.enable_loop_tail_vec": False,
}


class _Nothing(torch.nn.Module):
    """What is exported only to learn how operands with open sizes are described."""

    def forward(self, operands: tuple[Tensor, ...]) -> Tensor:
        return operands[0] + 0.0


class _All(torch.nn.Module):
    """All operations side by side, each on operands of its own; their results one after the other."""

    def forward(self, *operands: Tensor) -> tuple[Tensor, ...]:
        results, left = [], iter(operands)
        for operation in operations():
            found = operation.function(*islice(left, len(operation.operands)))
            results += [found] if operation.results == 1 else found
        return tuple(results)


def _graph(work: torch.dtype) -> torch.fx.GraphModule:
    """All operations as one graph.

    No operation may read a size: traced on a few elements it would become a constant.
    """
    from torch._inductor.decomposition import select_decomp_table
    from torch.fx.experimental.proxy_tensor import make_fx

    few = [tensor for operation in operations() for tensor in operation.example(work, FEWEST, FEWEST)]
    return make_fx(_All(), select_decomp_table())(*few)


def _compile_operations(module: torch.fx.GraphModule, described: torch.fx.GraphModule, operands: Sequence[Tensor],
                        **how: Any) -> Any:
    """Compile the module in place of what was exported, on its operands."""
    from torch._inductor.compile_fx import compile_fx_inner

    return compile_fx_inner(module, operands, **how)


@lru_cache
def _loaded(precision: str, path: Path) -> Kernels | None:
    if not path.exists():
        return None
    try:
        return Kernels(precision, Package(precision, path))
    except RuntimeError:
        return None


@lru_cache
def _fingerprint() -> str:
    digest = hashlib.sha256()
    for module in (fused.__file__, structure_factor.__file__, __file__):
        digest.update(Path(module).read_bytes())
    digest.update(f"{torch.__version__} {platform.platform()} {_processor()}".encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as stream:
            return next((line for line in stream if line.startswith("flags")), "")
    except OSError:
        return platform.processor()


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


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


def _nearest(x: Tensor, y: Tensor, z: Tensor, maps: Tensor, *table: Tensor) -> Tensor:
    return fused.nearest_everywhere(x, y, z, maps, fused.Table(*table))


def _cubic_layer(h: Tensor, k: Tensor, l: Tensor, total: Tensor, layer: Tensor, *table: Tensor) -> Tensor:  # noqa: E741
    return fused.cubic_layer(h, k, l, total, layer, fused.Table(*table))


if __name__ == "__main__":
    compile_packages(sys.argv[1:])
