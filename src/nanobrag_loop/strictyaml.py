"""YAML that people write: whatever is wrong with it becomes a `ConfigError` that names file and line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import yaml

from nanobrag_loop.errors import ConfigError

TEXT_TAG, MERGE_TAG = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
# What neither a file nor a command line can hold.
UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
SHOWN = 60


class Loader(yaml.SafeLoader):
    """Safe loading that also refuses keys that are no text, repeated keys, and scalars that are no value of their
    type (2026-13-45)."""

    def fetch_more_tokens(self):
        try:
            return super().fetch_more_tokens()
        except (ValueError, OverflowError) as error:
            # An escape for no character, a version of thousands of digits.
            raise yaml.scanner.ScannerError(None, None, f"cannot be read: {error}", self.get_mark()) from None

    def compose_scalar_node(self, anchor):
        node = super().compose_scalar_node(anchor)
        if UNSPEAKABLE.search(node.value):
            raise mistake(f"no text may hold NUL or half a character, got {node.value[:SHOWN]!a}", node)
        return node

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        # Noted here, refused when the mapping is built: a merge (`<<`) adds keys in between that the others may repeat.
        node.repeated, seen = None, set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (TEXT_TAG, MERGE_TAG):
                raise mistake(f"expected a text as key, got {shown(key)}", key)
            if key.tag == TEXT_TAG:
                node.repeated = node.repeated or (key if key.value in seen else None)
                seen.add(key.value)
        return node

    def construct_mapping(self, node, deep=False):
        if node.repeated:
            raise mistake(f"repeated key {node.repeated.value!r}", node.repeated)
        return super().construct_mapping(node, deep)

    def construct_object(self, node, deep=False):
        if node in self.recursive_objects:
            raise mistake("an alias that holds itself", node)
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError):
            raise mistake(f"{shown(node)} is no {node.tag.rpartition(':')[2]}", node) from None


def mistake(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def shown(node: yaml.Node) -> str:
    """A node in a few words."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value if len(node.value) <= SHOWN else f"{node.value[:SHOWN]}…")
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"


@contextlib.contextmanager
def mistakes(text: str, where: str) -> Iterator[None]:
    """Turn what PyYAML raises while `text` of the file `where` is read into `ConfigError`."""
    try:
        yield
    except yaml.reader.ReaderError as error:
        found = text[error.position].encode("utf-8", "surrogateescape")
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{where}:{line}: expected printable text in UTF-8, got {found!r}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise ConfigError(f"{place}: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: an alias that holds itself, or nested too deeply") from None


def load(text: str, where: str, loader: type[Loader] = Loader) -> object:
    """The data of one document; `ConfigError` names file and line of the first mistake."""
    with mistakes(text, where):
        return yaml.load(text, loader)  # noqa: S506 (a SafeLoader)
