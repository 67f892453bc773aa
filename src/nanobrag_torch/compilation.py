"""Compiling: the operations of a precision, as one graph, into a package that runs without a compiler.

`python -m nanobrag_torch.compilation float64 mixed` makes these packages.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch._inductor.codegen.cpp_wrapper_cpu  # before processes are forked: they share what importing it takes
from torch import Tensor
from torch._inductor import config
from torch._inductor.codegen import common
from torch._inductor.codegen.cpp import CppScheduling
from torch._inductor.compile_fx import compile_fx_aot, compile_fx_inner
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.package import package_aoti
from torch.export import Dim, export
from torch.fx.experimental.proxy_tensor import make_fx

from .kernel_cache import package_path
from .packages import FEWEST, OPEN, SIZES, WORK, Operand, arrangement, operations

PIXELS, DIRECTIONS = 4096, 128
"""Sizes for which the compiler arranges its loops; any size runs."""

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
    "assert_indirect_indexing": False,
    # checks of sizes that nothing runs, and that would have to be compiled
    "aot_inductor.check_lowerbound": False,
    # two files include torch's headers, which is quicker than preparing them and leaves nothing behind
    "aot_inductor.precompile_headers": False,
    # what calls the loops, quick to compile and as quick a call as by O1; O0 would double a call's cost
    "aot_inductor.compile_wrapper_opt_level": "Og",
    # nobody steps through the loops
    "aot_inductor.enable_line_tables": False,
    # half the code to compile: the last few pixels of a call may go one by one
    "cpp.enable_loop_tail_vec": False,
}
"""How inductor, torch's compiler, departs from its defaults."""


def compile_packages(wanted: list[str]) -> None:
    """Compile packages side by side, in processes of their own."""
    # garbage of a compilation is little, and nobody reads where its nodes came from: both cost seconds
    gc.disable()
    torch.fx.config.do_not_emit_stack_traces = True
    # no operation comes twice with the same open sizes: remembering what each makes of them costs more than it saves
    torch._dynamo.config.fake_tensor_cache_enabled = False
    # a few functions instead of one with all loops, which takes the C++ compiler half as long again
    CppScheduling.MAX_FUSED_KERNEL_ARGS_NUM = 40
    # there is one handler of result types, which would list its rules anew for each of ten thousand operations
    common.DtypePropagationOpsHandler = cache(common.DtypePropagationOpsHandler)
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        list(pool.map(compile_package, wanted, map(package_path, wanted)))


def compile_package(precision: str, target: Path) -> None:
    """Compile the operations of a precision; the package takes the place of the target when it is whole.

    What the compiler is given to trace is next to nothing, with operands whose sizes are open; the operations take its
    place afterwards. Traced there, on open sizes, they would take six seconds.
    """
    operands, places = arrangement()
    order = list(places)
    steps = [order.index(operand.operation) if operand.operation else 0 for operand in operands]
    examples = tuple(operand.example(WORK[precision], PIXELS + 64 * step, DIRECTIONS + 8 * step)
                     for operand, step in zip(operands, steps, strict=True))
    open_sizes = tuple(map(_open_sizes, operands))
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = target.with_name(f"{target.stem}.{os.getpid()}.pt2")
    with config.patch(COMPILER), torch.no_grad():
        nothing = export(_Nothing(), (examples,), dynamic_shapes=(open_sizes,)).graph_module
        files = compile_fx_aot(nothing, list(examples), partial(_compile_instead, _graph(WORK[precision])),
                               {"aot_inductor.package": True})
        package_aoti(str(made), files)
    os.replace(made, target)


def _compile_instead(operations: torch.fx.GraphModule, _: torch.fx.GraphModule, operands: Sequence[Tensor],
                     **how: Any) -> Any:
    return compile_fx_inner(operations, operands, **how)


class _Nothing(torch.nn.Module):
    """Takes what all operations take."""

    def forward(self, operands: tuple[Tensor, ...]) -> Tensor:
        return operands[0] + 0.0


def _open_sizes(operand: Operand) -> dict[int, Dim] | None:
    """Which sizes of an operand may be any."""
    return {place: Dim(f"{size}_{operand.operation.replace(' ', '_')}", min=FEWEST)
            for place, size in enumerate(SIZES[operand.name]) if size in OPEN} or None


def _graph(work: torch.dtype) -> torch.fx.GraphModule:
    """All operations as one graph of what the compiler knows.

    No operation may read a size, nor any that it is decomposed into: traced on a few elements it would become a
    constant.
    """
    few = [operand.example(work, FEWEST, FEWEST) for operand in arrangement()[0]]
    return make_fx(_All(), select_decomp_table())(*few)


class _All(torch.nn.Module):
    """All operations side by side; their results one after the other."""

    def forward(self, *operands: Tensor) -> tuple[Tensor, ...]:
        results, (_, places) = [], arrangement()
        for operation in operations():
            found = operation.function(*(operands[place] for place in places[operation.name]))
            results += [found] if operation.results == 1 else found
        return tuple(results)


if __name__ == "__main__":
    compile_packages(sys.argv[1:])
