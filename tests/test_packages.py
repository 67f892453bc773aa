"""Compiled packages: they do what the functions that they were made from do, for every size, and are made once."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from compiler import needs_compiler
from nanobrag_torch import kernel_cache
from nanobrag_torch.config import CrystalShape
from nanobrag_torch.kernel_cache import CompilationError, missing, package_path, sealed, warm_up
from nanobrag_torch.lanes import Lanes
from nanobrag_torch.packages import Kernels, load
from nanobrag_torch.quirks import Quirks
from test_kernels import MODES, by_lanes, simulator

CRYSTAL = "-cell 70 80 90 90 90 90 -default_F 100 -N 3"
QUIET = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


@needs_compiler
@pytest.mark.parametrize("mode", MODES)
def test_compiled_image_equals_the_eager_one(mode, compiled):
    for precision, agreement in (("float64", 1e-9), ("mixed", 3e-5)):
        experiment = simulator(mode, dtype=precision, quirks=Quirks.upstream())
        expected, image = by_lanes(experiment, Kernels(precision)), by_lanes(experiment, compiled[precision])
        torch.testing.assert_close(image, expected, rtol=agreement, atol=float(expected.max()) * agreement * 1e-2)


@needs_compiler
@pytest.mark.parametrize("shape", CrystalShape)
def test_compiled_shapes(shape, compiled):
    for mode in ("plain", "domains", "table and domains"):
        experiment = simulator(mode, shape=shape)
        expected, image = by_lanes(experiment, Kernels("float64")), by_lanes(experiment, compiled["float64"])
        torch.testing.assert_close(image, expected, rtol=1e-9, atol=float(expected.max()) * 1e-11)


@needs_compiler
def test_gradient_through_compiled_kernels(compiled):
    found = {}
    for compile in ("off", "on"):
        experiment = simulator("domains", compile=compile)
        experiment.crystal.refine("cell_a", "misset_deg", "mosaic_spread_deg")
        experiment.detector.refine("distance_mm")
        image = experiment.run()
        (image / image.detach().max()).square().sum().backward()
        assert experiment.summary.compiled is (compile == "on")
        found[compile] = [field.grad for model in (experiment.crystal, experiment.detector)
                          for field in model.parameters()]
    for expected, gradient in zip(found["off"], found["on"], strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-9)


@needs_compiler
def test_single_precision_is_mixed_rounded(compiled):
    images, gradients = {}, {}
    for dtype in ("mixed", "float32"):
        experiment = simulator("domains", compile="on", dtype=dtype)
        experiment.crystal.refine("cell_a")
        images[dtype] = experiment.run()
        images[dtype].double().square().mean().backward()
        assert experiment.summary.compiled
        gradients[dtype] = experiment.crystal.cell_a.grad
    assert images["float32"].dtype == torch.float32
    assert torch.equal(images["float32"], images["mixed"].float())
    # rises and falls of the pixels nearly cancel: 2e-6 from rounding their weights
    torch.testing.assert_close(gradients["float32"], gradients["mixed"], rtol=5e-6, atol=0.0)


@needs_compiler
@pytest.mark.parametrize(("times", "kept"), [(3, False), (5, True)])
def test_a_quarter_of_the_budget_may_be_kept(times, kept, compiled):
    experiment = simulator("domains", compile="on")
    operands = Lanes(compiled["float64"], experiment.scene(), experiment.choices, experiment.raster)
    budget = times * operands.kept_bytes
    experiment = simulator("domains", compile="on", memory_budget_bytes=budget)
    experiment.crystal.refine("cell_a")
    weighed: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(partial(_weigh, weighed), lambda tensor: tensor):
        experiment.run()
    assert (sum(weighed.values()) > operands.kept_bytes / 4) is kept


@needs_compiler
@pytest.mark.parametrize("mode", ["plain", "domains", "sub-pixels", "layers and domains", "table and domains"])
def test_what_memory_does_not_hold_is_evaluated_again_for_the_gradient(mode, compiled):
    found = {}
    for budget in (2**30, 2**12):
        experiment = simulator(mode, compile="on", spixels=160, fpixels=160, memory_budget_bytes=budget)
        experiment.crystal.refine("cell_a", "misset_deg")
        experiment.detector.refine("distance_mm")
        kept: dict[int, int] = {}
        with torch.autograd.graph.saved_tensors_hooks(partial(_weigh, kept), lambda tensor: tensor):
            image = experiment.run()
        assert experiment.summary.compiled
        image.sum().backward()
        lanes = Lanes(compiled["float64"], experiment.scene(), experiment.choices, experiment.raster)
        found[budget] = (sum(kept.values()), lanes.kept_bytes, experiment.crystal.cell_a.grad,
                         experiment.crystal.misset_deg.grad, experiment.detector.distance_mm.grad)
    (all_kept, most, *gradients), (inputs, _, *again) = found.values()
    assert inputs < all_kept / 4 < most / 4
    for expected, gradient in zip(again, gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-12)


def _weigh(kept: dict[int, int], tensor: torch.Tensor) -> torch.Tensor:
    storage = tensor.untyped_storage()
    kept[storage.data_ptr()] = storage.nbytes()
    return tensor


@pytest.mark.parametrize("compile", ["off", pytest.param("on", marks=needs_compiler)])
def test_derivative_images_are_differences_of_images(compile, request):
    if compile == "on":
        request.getfixturevalue("compiled")
    experiment = simulator("domains", compile=compile)
    image, rates = experiment.derivative_images(["cell_a", "crystal.misset_deg", "distance_mm"])
    step = 1e-5
    with torch.no_grad():
        torch.testing.assert_close(image, experiment.run(), rtol=1e-11, atol=float(image.max()) * 1e-13)
        above, below = (simulator("domains", compile=compile, cell_a=70.0 + sign * step).run() for sign in (1, -1))
    numerical = (above - below) / (2 * step)
    assert rates["crystal.misset_deg"].shape == (3, *image.shape)
    assert (rates["cell_a"] - numerical).abs().max() < 1e-6 * numerical.abs().max()
    torch.testing.assert_close(experiment.derivative_image("cell_a"), rates["cell_a"])
    with pytest.raises(ValueError, match="cell_q"):
        experiment.derivative_image("cell_q")


@needs_compiler
def test_nothing_is_compiled_for_another_experiment(compiled, monkeypatch):
    """Twenty experiments that differ in every number: no package is made, none is loaded anew."""
    monkeypatch.setattr(kernel_cache, "_compile_apart", lambda *_: pytest.fail("a compilation"))
    loaded = load("float64")
    for number in range(20):
        mode = list(MODES)[number % len(MODES)]
        experiment = simulator(mode, compile="on", cell_a=60.0 + number, shape=list(CrystalShape)[number % 4])
        with torch.no_grad():
            experiment.run()
        assert experiment.summary.compiled
        assert load("float64") is loaded


@needs_compiler
def test_golden_images_hold_with_compiled_kernels(compiled, record_property):
    """The same cases at the same thresholds as with the program's own order of operations."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider",
                           str(Path(__file__).with_name("test_golden.py"))], check=False,
                          env=dict(os.environ, NANOBRAG_COMPILE="on"), **QUIET)
    assert done.returncode == 0, done.stdout[-2000:]
    figures = next(line for line in done.stdout.splitlines() if line.startswith("golden images:"))
    record_property("figure", f"compiled, {figures}")


@needs_compiler
def test_command_uses_the_package_and_imports_no_compiler(compiled, tmp_path):
    words = f"{CRYSTAL} -detpixels 16 -pixel 1 -lambda 1 -floatfile f.bin -nonoise".split()
    script = ("import sys; from nanobrag_torch.cli.main import main; main(sys.argv[1:]); "
              "assert 'torch._dynamo' not in sys.modules and 'torch._inductor' not in sys.modules")
    environment = {name: value for name, value in os.environ.items() if name != "NANOBRAG_COMPILE"}
    for compile in ("auto", "off"):
        done = subprocess.run([sys.executable, "-c", script, *words, "-compile", compile], cwd=tmp_path,
                              env=environment, check=False, **QUIET)
        assert done.returncode == 0, done.stderr
        (tmp_path / "f.bin").rename(tmp_path / f"{compile}.bin")
    assert (tmp_path / "auto.bin").stat().st_size == (tmp_path / "off.bin").stat().st_size == 1024


def test_missing_compiler_is_one_line(tmp_path):
    environment = dict(os.environ, NANOBRAG_CACHE=str(tmp_path / "cache"), CXX="no-such-compiler")
    for option, words in (("-warmup", "-warmup"), ("-compile on", f"{CRYSTAL} -compile on -floatfile f.bin")):
        done = subprocess.run([sys.executable, "-m", "nanobrag_torch", *words.split()], cwd=tmp_path, env=environment,
                              check=False, **QUIET)
        assert done.returncode == 2
        assert f"error: {option}: " in done.stderr.splitlines()[-1] and "no-such-compiler" in done.stderr
    assert not list(tmp_path.glob("*.bin"))


@needs_compiler
def test_a_simulator_is_copied_after_a_run(compiled):
    experiment = simulator("domains", compile="on")
    image = experiment.run()
    for twin in (copy.deepcopy(experiment), pickle.loads(pickle.dumps(experiment))):
        assert torch.equal(twin.run(), image)
        assert twin.summary.compiled


@needs_compiler
def test_the_cache_may_be_the_present_folder(compiled, monkeypatch, tmp_path):
    library = package_path("float64").read_bytes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NANOBRAG_CACHE", ".")
    package_path("float64").write_bytes(library)
    assert load("float64") is not None


@needs_compiler
def test_kernels_that_must_be_there_and_cannot_be_loaded_are_an_error(compiled, monkeypatch, tmp_path):
    monkeypatch.setenv("NANOBRAG_CACHE", str(tmp_path))
    package_path("float64").write_bytes(sealed(b"not a library"))
    with pytest.raises(CompilationError, match="expected a library that can be loaded"):
        simulator("plain", compile="on").run()


def test_a_cache_that_cannot_be_written_is_refused_before_anything_is_compiled(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NANOBRAG_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("CXX", "true")
    with pytest.raises(CompilationError, match="expected a folder in which kernels can be kept"):
        warm_up()


def test_without_a_home_folder_runs_are_eager(monkeypatch):
    for name in ("NANOBRAG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    experiment = simulator("plain", compile="auto")
    assert float(experiment.run().max()) > 0
    assert not experiment.summary.compiled
    with pytest.raises(CompilationError, match="NANOBRAG_CACHE"):
        simulator("plain", compile="on").run()


def test_package_name_follows_cache_and_sources(monkeypatch, tmp_path):
    monkeypatch.setenv("NANOBRAG_CACHE", str(tmp_path))
    assert package_path("mixed").parent == tmp_path
    assert missing(("mixed",)) == ["mixed"]
    monkeypatch.delenv("NANOBRAG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert package_path("mixed").parent == Path(tmp_path, "nanobrag_torch")


@needs_compiler
def test_broken_package_is_as_good_as_none(compiled, monkeypatch, tmp_path):
    library = package_path("float64").read_bytes()
    monkeypatch.setenv("NANOBRAG_CACHE", str(tmp_path))
    for content in (b"not a package", b"", library[:-1], library[:len(library) // 2], library[:64] + library[65:],
                    sealed(b"not a library")):
        package_path("float64").write_bytes(content)
        assert load("float64") is None
    assert missing(("float64",)) == []
    package_path("float64").write_bytes(library[:-1])
    assert missing(("float64",)) == ["float64"]


@needs_compiler
def test_operations_refuse_what_is_none_of_theirs(compiled):
    kernels = compiled["mixed"]
    x = torch.rand(5, dtype=torch.float64)
    maps, lattice = torch.rand(3, 12, dtype=torch.float64), torch.rand(12)
    assert kernels("many gauss", x, x, x, maps, lattice).shape == (5,)
    for wrong in ((x, x, x[:4], maps, lattice), (x, x, x, maps.T, lattice), (x, x, x, maps, lattice.double()),
                  (x, x, x, maps, lattice[:6]), (x, x, x, maps), (x, x, x, maps[0], lattice)):
        with pytest.raises(ValueError, match=r"many gauss: .*: expected|argument|shorter"):
            kernels("many gauss", *wrong)


@needs_compiler
def test_lists_take_the_memory_of_the_last_call(compiled):
    kernels, room = compiled["float64"], []
    maps, lattice = torch.rand(12, 4, dtype=torch.float64), torch.rand(12, dtype=torch.float64)
    places = set()
    for pixels in (8, 8, 5):
        x, y, z = torch.rand(3, pixels, dtype=torch.float64).unbind()
        found = kernels("slopes gauss", x, y, z, maps, lattice, room=room)
        for expected, result in zip(kernels.functions["slopes gauss"](x, y, z, maps, lattice), found, strict=True):
            torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)
        if pixels == 8:
            places.add(tuple(result.data_ptr() for result in found))
    assert len(places) == 1


@pytest.mark.parametrize("said", ["0.cpp:1: fatal error: no space left\nterminated",
                                  "Traceback:\nOSError: no space left"])
def test_compiler_that_fails_is_one_line(monkeypatch, tmp_path, said):
    monkeypatch.setenv("NANOBRAG_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "COMPILING", f"import sys; sys.exit({said!r})")
    monkeypatch.setattr(kernel_cache, "_compiler", lambda: sys.executable)
    with pytest.raises(CompilationError, match=r"compiling kernels failed: .*rror: no space left$"):
        warm_up(("mixed",))
