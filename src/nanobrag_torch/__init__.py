"""nanoBragg on PyTorch: diffraction images of small crystals, differentiable in every continuous parameter.

Names are loaded on first use, so that importing the package does not import torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "BeamConfig": "config", "CrystalConfig": "config", "CrystalShape": "config", "DetectorConfig": "config",
    "DetectorConvention": "config", "DetectorPivot": "config", "NoiseConfig": "config", "SamplingConfig": "config",
    "Experiment": "experiment", "Quirks": "quirks", "InputError": "errors",
    "Beam": "models", "Crystal": "models", "Detector": "models",
    "Simulator": "simulator", "simulate": "simulator",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
