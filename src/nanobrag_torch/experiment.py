"""A whole experiment as plain values: what is simulated, from which files, to which files, and how."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .config import BeamConfig, ConfigError, CrystalConfig, DetectorConfig, NoiseConfig, SamplingConfig
from .constants import PERMITTED_WORDS
from .quirks import Quirks


@dataclass(frozen=True)
class Files:
    """Paths; None where a file is neither read nor written.

    `dump_asked` tells a cache named by the user from the default one.
    """

    hkl: str | None = None
    dump: str = "Fdump.bin"
    dump_asked: bool = False
    mask: str | None = None
    stol: str | None = None
    floatfile: str | None = "floatimage.bin"
    intfile: str | None = "intimage.img"
    pgmfile: str | None = "image.pgm"
    noisefile: str | None = "noiseimage.img"
    pngfile: str | None = None

    @property
    def outputs(self) -> dict[str, str]:
        """Option to path of everything that a run writes, the cache aside."""
        named = {"-floatfile": self.floatfile, "-intfile": self.intfile, "-pgmfile": self.pgmfile,
                 "-noisefile": self.noisefile, "-pngfile": self.pngfile}
        return {option: path for option, path in named.items() if path is not None}


@dataclass(frozen=True)
class Computing:
    """Where and how precisely.

    device
        "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.
    dtype
        "float64", "mixed" or "float32".
    compile
        Compiled kernels: "auto", "on" or "off"; None for what $NANOBRAG_COMPILE says, else "auto".
    threads
        Processor threads, 1 or more; None leaves the choice to torch.
    """

    device: str = "cpu"
    dtype: str = "float64"
    threads: int | None = None
    compile: str | None = None

    def __post_init__(self) -> None:
        for name, (pattern, wanted) in PERMITTED_WORDS.items():
            word = getattr(self, name)
            if not (re.fullmatch(pattern, word) if word is not None else name == "compile"):
                raise ConfigError(name, wanted, word)
        if self.threads is not None and self.threads < 1:
            raise ConfigError("threads", "a whole number, 1 or above", self.threads)


@dataclass(frozen=True)
class Experiment:
    """Everything that determines a run of the command."""

    crystal: CrystalConfig = field(default_factory=CrystalConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    beam: BeamConfig = field(default_factory=BeamConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    files: Files = field(default_factory=Files)
    computing: Computing = field(default_factory=Computing)
    quirks: Quirks = field(default_factory=Quirks.clean)

    @classmethod
    def from_argv(cls, words: Sequence[str]) -> Experiment:
        """The experiment that a command line describes (without the program's name).

        Raises `InputError` for anything unusable.
        """
        from .cli.parse import parse
        from .cli.resolve import resolve

        return resolve(parse(words)).experiment

    @classmethod
    def from_yaml(cls, path: str) -> Experiment:
        """The experiment that a file of `to_yaml` holds; `InputError` names file and line of what is wrong."""
        from .io.experiment_yaml import read_experiment

        return read_experiment(path)

    def to_yaml(self) -> str:
        """The experiment as text that `from_yaml` reads back to the same values."""
        from .io.experiment_yaml import experiment_text

        return experiment_text(self)
