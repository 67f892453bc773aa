"""The images of a batch, resolved and checked before the first one is simulated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..cli.resolve import Resolved, cache_to_read, resolve
from ..errors import InputError
from ..io.atomic import check_writable
from .plan import Case, Plan
from .words import case_words


@dataclass(frozen=True)
class Image:
    """One image: its case, the words that `nanoBragg` makes it by, and what they come to."""

    plan: Plan
    case: Case
    words: tuple[str, ...]
    resolved: Resolved

    @property
    def name(self) -> str:
        """Its number, and the first of its files."""
        outputs = self.resolved.experiment.files.outputs
        return f"case {self.case.number}" + (f" ({next(iter(outputs.values()))})" if outputs else "")

    @property
    def inputs(self) -> dict[str, str]:
        """Option to path of every file that it is made from."""
        inputs = {f"-{name}": path for name, path in self.resolved.inputs.items()}
        experiment = self.resolved.experiment
        return inputs | ({"-dump": experiment.files.dump} if cache_to_read(experiment) else {})


def read_images(plan: Plan) -> list[Image]:
    """All images of a plan; their files are found to be there, and no two of them get in each other's way.

    Raises:
        InputError: a case cannot be used; names file, line and case.
    """
    images = []
    for case in plan.cases:
        with located(plan, case):
            words, settings = case_words(plan, case)
            images.append(Image(plan, case, tuple(words), resolve(settings)))
    _check_outputs(plan, images)
    _check_caches(images)
    return images


@contextmanager
def located(plan: Plan, case: Case) -> Iterator[None]:
    """Errors name the line of the option at fault, where there is one, and the case."""
    try:
        yield
    except InputError as error:
        option = re.match(r"-(\w+)", str(error))
        value = case.options.get(option[1]) if option else None
        place = plan.path if value is None else f"{plan.path}:{value.line}"
        message = str(error) if str(error).startswith(plan.path) else f"{place}: case {case.number}: {error}"
        raise InputError(message) from None


def _check_outputs(plan: Plan, images: Iterable[Image]) -> None:
    """Refuse files that two cases write, or that one case writes and another one reads."""
    outputs = {f"case {image.case.number}: {option}": path
               for image in images for option, path in image.resolved.experiment.files.outputs.items()}
    inputs = {f"case {image.case.number}: {option}": path
              for image in images for option, path in image.inputs.items()}
    try:
        check_writable(outputs, inputs | {"the batch": plan.path})
    except InputError as error:
        raise InputError(f"{plan.path}: {error}") from None


def _check_caches(images: Iterable[Image]) -> None:
    """Refuse to write a cache that would change what another case is made from when the batch is done again."""
    writers = {image.resolved.experiment.files.dump: image for image in images
               if image.resolved.experiment.files.hkl is not None}
    for image in images:
        files, quirks = image.resolved.experiment.files, image.resolved.experiment.quirks
        if files.hkl is None and files.dump in writers and (files.dump_asked or quirks.silent_cache):
            raise InputError(f"{image.plan.path}: case {image.case.number}: expected -hkl, or a -dump of its own, "
                             f"got none: case {writers[files.dump].case.number} writes {files.dump}, which this case "
                             "would read")
