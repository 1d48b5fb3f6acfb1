"""Where settings stand: a YAML file, the environment, ``--set``. Each becomes texts with their places, unjudged.

Every value stays the text that was written until its field reads it, so a ``no``, ``010`` or ``1:30`` of YAML 1.1 means
what it looks like, and the three sources obey one rule.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

ENVIRONMENT_PREFIX = "STREAMPROC__"
_DEPTH = 16  # sections lie one deep; the bound keeps PyYAML's recursion away from Python's limit
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong, in words for the person who wrote it: ``where: key: reason``."""

    where: str
    key: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.reason) if part)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as somebody wrote it.

    Attributes:
        key: With dots, ``segment.seconds``; not known to exist.
        text: The value as written, None for "no value". Kept out of ``repr``: it could be a secret.
        key_at, value_at: Where they stand: ``file.yaml:3:5``, ``environment STREAMPROC__...``, ``--set``.
        shape: What stands there: ``value``, ``mapping`` or ``list``. A mapping's own keys are entries of their own.
        section: Key of the mapping around it, which is an entry too; "" if there is none.
    """

    key: str
    text: str | None = field(repr=False)
    key_at: str
    value_at: str
    shape: str = "value"
    section: str = ""


def from_environment(environment: Mapping[str, str]) -> Iterator[Entry | Fault]:
    """Every variable with the prefix, in the order of names: ``STREAMPROC__SEGMENT__SECONDS``."""
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        where = f"environment {name}"
        if name == name.upper():
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            yield Entry(key, environment[name] or None, where, where)
        else:
            # Two spellings would be two names for one key, and the winner a matter of luck.
            yield Fault(where, "", f"write the name in capitals: {name.upper()}")


def from_assignments(assignments: Sequence[str]) -> Iterator[Entry | Fault]:
    """``key=value`` as given to ``--set``; the last one of a key wins."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if equals and key:
            yield Entry(key, text.strip() or None, "--set", "--set")
        else:
            # What was written is not repeated: without "=" it may be a value that lost its key.
            yield Fault("--set", "", "expected key=value, for instance segment.seconds=2")


def from_yaml(name: str, content: bytes) -> Iterator[Entry | Fault]:
    """The keys of a YAML document, sections before what is in them.

    Args:
        name: The file's name, for the places.
        content: UTF-8; empty is fine.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        good = content[: error.start].decode("utf-8")
        yield Fault(f"{name}:{_place(good, len(good))}", "", "not UTF-8 text: save the file as UTF-8")
        return
    try:
        refused = list(_refused(name, text))
        root = None if refused else yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        hint = " (indent with spaces, not with tabs)" if "\\t" in (error.problem or "") else ""
        yield Fault(f"{name}{place}", "", f"not YAML: {error.problem or error.context}{hint}")
        return
    except yaml.reader.ReaderError as error:
        yield Fault(f"{name}:{_place(text, error.position)}", "", "not YAML: a control character")
        return
    yield from refused
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
        return
    if not isinstance(root, yaml.MappingNode):
        yield Fault(_mark(name, root), "", "should be a mapping of keys to values, such as  segment: {seconds: 2}")
        return
    yield from _walk(name, root, ())


def _refused(name: str, text: str) -> Iterator[Fault]:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        anchor = getattr(event, "anchor", None)
        where = _mark(name, event)
        if anchor is not None:
            yield Fault(where, "", f"anchors and aliases ({anchor}) are not supported: write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH:
                yield Fault(where, "", f"more than {_DEPTH} levels deep")
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _walk(name: str, node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[Entry | Fault]:
    first_line: dict[str, int] = {}
    for key_node, value in node.value:
        key_at, value_at = _mark(name, key_node), _mark(name, value)
        if not isinstance(key_node, yaml.ScalarNode):
            yield Fault(key_at, ".".join(path), "a key should be a plain word")
            continue
        here = (*path, key_node.value)
        key = ".".join(here)
        if key_node.tag.endswith(":merge"):
            yield Fault(key_at, ".".join(path), "merge keys (<<) are not supported: write the values out")
        elif key_node.value in first_line:
            yield Fault(key_at, key, f"given twice, first on line {first_line[key_node.value]}")
        elif value.tag.startswith("!") or (isinstance(value, yaml.ScalarNode) and value.tag not in _PLAIN_TAGS):
            yield Fault(value_at, key, "tags (!) are not supported: write a plain value")
        elif isinstance(value, yaml.MappingNode):
            yield Entry(key, None, key_at, value_at, "mapping", ".".join(path))
            yield from _walk(name, value, here)
        elif isinstance(value, yaml.ScalarNode):
            yield Entry(
                key, None if value.tag.endswith(":null") else value.value, key_at, value_at, section=".".join(path)
            )
        else:
            yield Entry(key, None, key_at, value_at, "list", ".".join(path))
        first_line.setdefault(key_node.value, key_node.start_mark.line + 1)


def _mark(name: str, thing: yaml.Node | yaml.Event) -> str:
    mark = thing.start_mark
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name


def _place(text: str, index: int) -> str:
    before = text[:index]
    return f"{before.count(chr(10)) + 1}:{index - (before.rfind(chr(10)) + 1) + 1}"
