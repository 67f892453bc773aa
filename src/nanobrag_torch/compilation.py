"""Compiling: the operations of a precision, as one C function each, into a library that runs without a compiler.

Torch's compiler writes the loops; what calls them is written here, a few lines for each operation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch._dynamo.source import ConstantSource
from torch._guards import TracingContext, tracing
from torch._inductor import config
from torch._inductor.codegen import common
from torch._inductor.codegen.cpp import CppScheduling
from torch._inductor.codegen.cpp_utils import DTYPE_TO_CPP, cexpr
from torch._inductor.codegen.wrapper import PythonWrapperCodegen
from torch._inductor.cpp_builder import CppBuilder, CppTorchDeviceOptions
from torch._inductor.cpu_vec_isa import pick_vec_isa
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.graph import GraphLowering
from torch._inductor.ir import NonOwningLayout
from torch._inductor.scheduler import Scheduler
from torch._inductor.virtualized import V
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv
from torch.fx.node import map_arg

from .kernel_cache import package_path, sealed
from .packages import FEWEST, OPEN, WORK, Operation, operations, tensor_like
from .process import usable_cores

LIKELY = {"P": 4096, "J": 128, "N": 2**16}
"""Sizes for which the compiler arranges its loops; any size runs."""
FEW = {"P": FEWEST, "J": FEWEST, "N": 64}
"""Sizes on which operations are traced."""
SHARED = re.compile(r"#pragma omp for(?=\n\s*for\(int64_t (\w+)=.+; \1<(?P<end>.+); \1\+=(?P<step>.+)\)\n)")
"""What the compiler writes before a loop whose steps threads share out among them, each taking its part at once."""
PIECES = 32
"""Parts of such a loop that they take one by one instead."""
MOST_PARTS = 4
"""Files of a package's loops, where there are cores for them: each reads torch's headers, a fifth of all."""

COMPILER = {
    # one loop per operation: nothing between the Miller indices and the sum leaves the registers
    "realize_opcount_threshold": 200, "realize_acc_reads_threshold": 100,
    # what is read from two places or more has a name there, instead of being written out wherever it is used
    "realize_reads_threshold": 2,
    "cpp.enable_floating_point_contract_flag": "fast",
    # the number of threads is that of the run, not of the compilation
    "cpp.dynamic_threads": True,
    # the loops come out the same without weighing how to arrange them, which goes through each once more
    "cpp.enable_tiling_heuristics": False,
    # the processor's own list is believed; trying each instruction set takes seconds
    "cpp.vec_isa_ok": True,
    # half the code to compile: the last few pixels of a call may go one by one
    "cpp.enable_loop_tail_vec": False,
    "assert_indirect_indexing": False,
    # every operand and result of a loop keeps its name
    "inplace_buffers": False, "cpp.descriptive_names": False,
}
"""How inductor, torch's compiler, departs from its defaults."""


def compile_packages(wanted: list[str]) -> None:
    """Compile packages, on all cores; each takes its place when it is whole."""
    # nobody reads where a compilation's nodes came from, which costs seconds
    torch.fx.config.do_not_emit_stack_traces = True
    # what is alike in a graph is found here already
    torch._dynamo.config.fake_tensor_cache_enabled = False
    # there is one handler of result types, which would list its rules anew for each of ten thousand operations
    common.DtypePropagationOpsHandler = cache(common.DtypePropagationOpsHandler)
    common.register_backend_for_device("cpu", CppScheduling, _Calls, _Calls)
    cores = usable_cores()
    names = [operation.name for operation in operations()]
    with (config.patch(COMPILER), TemporaryDirectory() as scratch,
          ProcessPoolExecutor(cores, get_context("fork")) as pool):
        texts = {precision: pool.map(_text, repeat(precision), names) for precision in wanted}
        parts = min(MOST_PARTS, max(1, cores // len(wanted)))
        objects = {precision: _objects(pool, list(texts[precision]), parts, Path(scratch, precision))
                   for precision in wanted}
        for precision in wanted:
            _place(_built(list(objects[precision]), Path(scratch, precision)), package_path(precision))


def _objects(pool: Executor, texts: list[str], parts: int, folder: Path) -> Any:
    """Object files of all loops, in parts that are compiled side by side."""
    folder.mkdir()
    sources = [folder / f"{part}.cpp" for part in range(parts)]
    for part, source in enumerate(sources):
        source.write_text("#include <memory>\n" + "\n".join(texts[part::parts]))
    return pool.map(_object, sources)


def _object(source: Path) -> Path:
    return _built([source], source.with_suffix(""), compile_only=True)


def _built(sources: list[Path], target: Path, **how: bool) -> Path:
    """The object file of a source, or the library of object files."""
    options = CppTorchDeviceOptions(vec_isa=pick_vec_isa(), device_type="cpu", aot_mode=True, **how)
    builder = CppBuilder(target.name, [str(source) for source in sources], options, str(target.parent))
    builder.build()
    return Path(builder.get_target_file_path())


def _place(library: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = target.with_name(f"{target.stem}.{os.getpid()}{target.suffix}")
    made.write_bytes(sealed(library.read_bytes()))
    os.replace(made, target)


# --- the text of an operation -----------------------------------------------------------------------------------------


def _text(precision: str, name: str) -> str:
    """An operation in C++: its loops and the function that calls them."""
    operation = next(operation for operation in operations() if operation.name == name)
    environment = ShapeEnv()
    sizes = {letter: _open_size(environment, letter) for letter in OPEN}
    mode = FakeTensorMode(shape_env=environment)
    with torch.no_grad(), V.set_fake_mode(mode), tracing(TracingContext(mode)), V.set_debug_handler(DebugContext()):
        traced = _traced(operation, WORK[precision])
        with mode:
            operands, results = ([tensor_like(kind, sizes, WORK[precision]) for kind in kinds]
                                 for kinds in (operation.operands, operation.results))
            found = _Sizes(traced).run(*operands)
        if [*map(_described, found)] != [*map(_described, results)]:
            raise TypeError(f"{operation.name}: expected {results}, got {found}")
        graph = GraphLowering(traced, example_inputs=operands, shape_env=environment, cpp_wrapper=True)
        with V.set_graph_handler(graph):
            graph.run(*operands)
            graph.init_wrapper_code()
            graph.wrapper_code.push_codegened_graph(graph)
            graph.wrapper_code.operation = operation
            graph.scheduler = Scheduler(graph.operations)
            graph.scheduler.codegen()
            return graph.wrapper_code.text([str(size.node.expr) for size in sizes.values()])


def _open_size(environment: ShapeEnv, letter: str) -> torch.SymInt:
    source = ConstantSource(letter)
    symbol = environment.create_symbol(LIKELY[letter], source, DimDynamic.DYNAMIC)
    return environment.create_symintnode(symbol, hint=LIKELY[letter], source=source)


def _traced(operation: Operation, work: torch.dtype) -> torch.fx.GraphModule:
    """An operation as a graph of what the compiler knows.

    No operation may read a size, nor any that it is decomposed into: traced on a few elements, which is much quicker
    than on open sizes, it would become a constant.
    """
    few = (torch.ones_like(tensor_like(kind, FEW, work)) for kind in operation.operands)
    return make_fx(_Step(operation.function), select_decomp_table())(*few)


class _Step(torch.nn.Module):
    """An operation whose results are always listed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *operands: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = self.function(*operands)
        return results if isinstance(results, tuple) else (results,)


class _Sizes(torch.fx.Interpreter):
    """Notes what every step of a graph makes of open sizes, working it out once for all steps that are alike."""

    def __init__(self, graph: torch.fx.GraphModule) -> None:
        super().__init__(graph)
        self._known: dict[str, FakeTensor] = {}

    def run_node(self, node: torch.fx.Node) -> Any:
        """What a node's result is like."""
        alike = f"{node.target} {map_arg((node.args, node.kwargs), lambda given: _described(self.env[given]))}"
        again = node.op == "call_function" and alike in self._known
        found = self._known[alike] if again else super().run_node(node)
        self._known.setdefault(alike, found)
        node.meta["val"] = found
        return found


def _described(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)} {value.stride()}" if isinstance(value, torch.Tensor) else str(value)


class _Calls(PythonWrapperCodegen):
    """Listens to the compiler: its loops, and what each is to be called with."""

    operation: Operation

    def __init__(self) -> None:
        super().__init__()
        self._loops: list[str] = []
        self._calls: list[str] = []
        self._buffers: dict[str, str] = {}

    @staticmethod
    def create(*_: Any, **__: Any) -> _Calls:
        """One such listener."""
        return _Calls()

    def next_kernel_suffix(self) -> str:
        """The end of a loop's name, which no other operation has."""
        return f"{self.operation.symbol}_{super().next_kernel_suffix()}"

    def define_kernel(self, _name: str, text: str, *_: Any, **__: Any) -> None:
        """A loop, of which threads take pieces: none waits long for another whose core is disturbed."""
        self._loops.append(SHARED.sub(rf"\g<0> schedule(dynamic, 1 + (\g<end>) / (\g<step>) / {PIECES})", text))

    def generate_kernel_call(self, name: str, operands: list[str], *, arg_types: list[str], **_: Any) -> None:
        """What a loop is called with."""
        given = (self._operand(operand, c_type) for operand, c_type in zip(operands, arg_types, strict=True))
        self._calls.append(f"{name}({', '.join(given)});")

    def text(self, sizes: list[str]) -> str:
        """The loops, and a function of the addresses of operands and results and of the open sizes."""
        symbol = self.operation.symbol
        lines = [f"const int64_t {size} = sizes[{place}];" for place, size in enumerate(sizes)]
        body = "\n    ".join([*lines, *self._buffers.values(), *self._calls])
        return "\n".join([*self._loops, f'extern "C" void {symbol}(void *const *tensors, const int64_t *sizes) {{',
                          f"    {body}", "}", ""])

    def _operand(self, name: str, c_type: str) -> str:
        if not c_type.endswith("*"):
            return name
        listed = [*V.graph.graph_input_names, *V.graph.get_output_names()]
        layout = None if name in V.graph.graph_input_names else V.graph.get_buffer(name).get_layout()
        if isinstance(layout, NonOwningLayout):
            whole, start = layout.view.get_name(), layout.view.get_layout().offset
            return f"{self._operand(whole, c_type)} + ({cexpr(start)})"
        if name in listed:
            if layout is not None and not layout.is_contiguous():
                raise TypeError(f"{self.operation.name}: expected rows of its results side by side, got {layout}")
            return f"static_cast<{c_type}>(tensors[{listed.index(name)}])"
        element = DTYPE_TO_CPP[layout.dtype]
        count = cexpr(V.graph.sizevars.simplify(layout.storage_size()))
        self._buffers[name] = f"const std::unique_ptr<{element}[]> {name}(new {element}[{count}]);"
        return f"{name}.get()"
