"""Modules of torch that a command never uses: imported by torch itself, executed when one of their names is asked for.

What only tracing needs, and layers of neural networks, is nearly half of `import torch`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType

CHECKED = ("2.13.0",)
"""Versions of torch in which these modules are known to be of use to nothing else while torch is imported."""
UNUSED = ("torch._meta_registrations", "torch.export", "torch.distributions", "torch.quantization",
          "torch.nn.intrinsic", "torch.nn.qat", "torch.nn.quantizable", "torch.nn.quantized")


def defer_unused() -> None:
    """Have the process's `import torch` leave out what no command uses, if it is a version that is known."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return
    if version.partition("+")[0] in CHECKED:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds these modules where they are, and has them executed later."""

    def find_spec(self, fullname: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in UNUSED else None
        if spec is not None:
            spec.loader = _LaterLoader(spec.loader)
        return spec


class _LaterLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.lock = RLock()

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""

    def execute(self, module: ModuleType) -> None:
        """Run the module, once; it may look at itself meanwhile."""
        with self.lock:
            if module.__loader__ is self:
                module.__loader__ = module.__spec__.loader = self.loader
                self.loader.exec_module(module)
                module.__class__ = ModuleType


class _Later(ModuleType):
    """A module that is executed when a name is asked for that it does not have; those with `__` are the importer's."""

    def __getattr__(self, name: str):
        if not name.startswith("__") and isinstance(self.__spec__.loader, _LaterLoader):
            self.__spec__.loader.execute(self)
            return getattr(self, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
