"""Where compiled kernels are kept, and having them made. Nothing here imports torch: their names are known at once."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib import metadata
from pathlib import Path

COMPILED_PRECISIONS = ("float64", "mixed")
"""Those that have compiled kernels, one package each."""
SERVING = {"float64": "float64", "mixed": "mixed", "float32": "mixed"}
"""The package that a run of each precision takes: images in single precision are those of mixed, rounded."""
SOURCES = ("fused.py", "physics/structure_factor.py", "packages.py", "compilation.py")
"""Modules that packages are made from."""

COMPILING = """
import gc, sys
gc.disable()  # garbage of a compilation is little, and looking for it costs seconds
from nanobrag_torch.compilation import compile_packages
compile_packages(sys.argv[1:])
gc.freeze()
"""
"""A process that makes packages."""


class CompilationError(Exception):
    """Kernels could not be compiled."""


def cache_directory() -> Path:
    """Where packages are kept: $NANOBRAG_CACHE, or the user's cache folder.

    Raises `FileNotFoundError` where nothing says which that is.
    """
    given = os.environ.get("NANOBRAG_CACHE")
    if given:
        return Path(given).absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "nanobrag_torch"
    except RuntimeError:
        raise FileNotFoundError("neither $NANOBRAG_CACHE nor a home folder") from None


def package_path(precision: str) -> Path:
    """The file of a package; its name changes with these sources, torch and the processor."""
    return cache_directory() / f"{precision}-{_fingerprint()}.so"


def missing(precisions: tuple[str, ...] = COMPILED_PRECISIONS) -> list[str]:
    """Precisions whose packages are not on disk, or not whole."""
    return [precision for precision in precisions if not _on_disk(precision)]


def _on_disk(precision: str) -> bool:
    try:
        return whole(package_path(precision))
    except FileNotFoundError:
        return False


def warm_up(precisions: tuple[str, ...] = COMPILED_PRECISIONS) -> list[str]:
    """Make the packages that are missing; returns their names.

    Raises `CompilationError` without a compiler, or with its last words.
    """
    wanted = missing(precisions)
    if not wanted:
        return []
    if shutil.which(_compiler()) is None:
        raise CompilationError(f"expected the C++ compiler {_compiler()} ($CXX) on the path, found none")
    _check_writable()
    words = _compile_apart(wanted)
    if words:
        raise CompilationError(f"compiling kernels failed: {words}")
    return wanted


def _check_writable() -> None:
    """Refuse a cache that cannot keep what takes a minute to make."""
    try:
        folder = cache_directory()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CompilationError(f"expected a folder in which kernels can be kept, got {error}") from None


def _compile_apart(wanted: list[str]) -> str:
    """Compile in another process, so that this one never imports the compiler; why if it fails: what the C++ compiler
    says first, else the last words."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", COMPILING, *wanted], check=False, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, TORCHINDUCTOR_CACHE_DIR=scratch))
    words = done.stderr.strip().splitlines() or ["no reason given"]
    return "" if done.returncode == 0 else next((line.strip() for line in words if "error: " in line), words[-1])


def sealed(library: bytes) -> bytes:
    """A library with the digest of its bytes behind it, which nobody who loads it looks at."""
    return library + hashlib.sha256(library).digest()


def whole(path: Path) -> bool:
    """Whether a package is on disk as it was made: loading half a library would end the process."""
    try:
        package = path.read_bytes()
    except OSError:
        return False
    return package == sealed(package[:-hashlib.sha256().digest_size])


@lru_cache
def _fingerprint() -> str:
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update((Path(__file__).parent / source).read_bytes())
    digest.update(f"{metadata.version('torch')} {platform.platform()} {_processor()}".encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as stream:
            return next((line for line in stream if line.startswith("flags")), "")
    except OSError:
        return platform.processor()


def _compiler() -> str:
    return os.environ.get("CXX", "g++")
