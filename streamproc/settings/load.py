"""Loading settings: defaults < YAML file < environment < ``--set``, with every fault of a run told at once.

streamproc.yaml:4:12: segment.seconds: should be greater than or equal to 0.5 (got '0')
environment STREAMPROC__EFFECT__CELS: effect.cels: unknown key; did you mean 'effect.cells'?
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from streamproc.errors import ConfigurationError
from streamproc.settings.model import ContradictionsError, Settings
from streamproc.settings.sources import Entry, Fault, from_assignments, from_environment, from_yaml

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and where each of them comes from.

    Attributes:
        origins: For every key: ``default``, ``file.yaml:3:5``, ``environment STREAMPROC__...`` or ``--set``.
    """

    settings: Settings
    origins: Mapping[str, str]

    def values(self) -> dict[str, Any]:
        """The effective value of every key, as JSON has it, in the order of the model."""
        tree = self.settings.model_dump(mode="json")
        return {key: _value_at(tree, key) for key in self.origins}


def load_settings(file: Path | None, environment: Mapping[str, str], assignments: Sequence[str]) -> LoadedSettings:
    """Merge all sources and check everything in them, overridden values too.

    Args:
        file: The YAML file; None for none.
        environment: Only names that begin with ``STREAMPROC__`` are looked at.
        assignments: ``key=value``, as given to ``--set``.

    Raises:
        ConfigurationError: With one line per fault.
    """
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    origins = dict.fromkeys(_leaves(), "default")
    wrong: set[str] = set()
    for entry in _entries(file, environment, assignments):
        read = _read(entry) if isinstance(entry, Entry) else entry
        if isinstance(read, Fault):
            faults.append(read)
            wrong.add(read.key)
        elif read is not None:
            values[read.key], origins[read.key] = read.value, read.where
    try:
        settings = Settings.model_validate(_nest(values))
    except ValidationError as error:
        # Every value has passed its own field, so only what they are together can be wrong.
        faults.extend(_contradictions(error, origins, wrong))
    if faults:
        raise ConfigurationError("\n".join(str(fault) for fault in faults))
    return LoadedSettings(settings, MappingProxyType(origins))


@dataclass(frozen=True, slots=True)
class _Value:
    key: str
    value: Any
    where: str


def _entries(file: Path | None, environment: Mapping[str, str], assignments: Sequence[str]) -> Iterator[Entry | Fault]:
    if file is not None:
        try:
            content = file.read_bytes()
        except OSError as error:
            yield Fault(str(file), "", f"cannot be read: {error.strerror or type(error).__name__}")
        else:
            yield from from_yaml(str(file), content)
    yield from from_environment(environment)
    yield from from_assignments(assignments)


def _read(entry: Entry) -> _Value | Fault | None:
    """The value of a leaf, a fault, or None for a section."""
    if entry.key in _sections():
        if entry.shape == "mapping" or (entry.shape == "value" and entry.text is None):
            return None
        inside = ", ".join(key.rpartition(".")[2] for key in _leaves() if key.startswith(f"{entry.key}."))
        return Fault(entry.value_at, entry.key, f"should be a mapping with the keys {inside}")
    if entry.key not in _leaves():
        if entry.section and entry.section not in _sections():
            return None  # the section is the fault, and has been told
        return Fault(entry.key_at, entry.key, f"unknown key{_suggestion(entry)}")
    if entry.shape != "value":
        return Fault(entry.value_at, entry.key, f"should be a single value, not a {entry.shape}")
    adapter, optional = _reader(entry.key)
    if entry.text is None and not optional:
        return Fault(entry.value_at, entry.key, "has no value")
    try:
        return _Value(entry.key, adapter.validate_python(entry.text), entry.value_at)
    except ValidationError as error:
        return Fault(entry.value_at, entry.key, f"{_reason(error)} (got {_shown(entry.text or '')})")


def _contradictions(error: ValidationError, origins: Mapping[str, str], wrong: set[str]) -> Iterator[Fault]:
    for each in error.errors():
        cause = each.get("ctx", {}).get("error")
        for found in cause.found if isinstance(cause, ContradictionsError) else ():
            involved = (found.key, *found.others)
            if wrong.isdisjoint(involved):
                place = next((origins[key] for key in involved if origins[key] != "default"), "default")
                yield Fault(place, found.key, found.reason)


def _reason(error: ValidationError) -> str:
    message = error.errors()[0]["msg"].partition(", unable to parse")[0]
    return message.removeprefix("Value error, ").removeprefix("Input ").removeprefix("Value ")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…")


def _suggestion(entry: Entry) -> str:
    """The nearest right name; by the last word alone if the whole has no neighbour (``crf`` for ``encode.crf``)."""
    names = [*_leaves(), *_sections()]
    if entry.key in names or not entry.key:
        return ""
    near = difflib.get_close_matches(entry.key.lower().replace("-", "_"), names, n=1, cutoff=0.75)
    if not near:
        by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
        last = entry.key.lower().replace("-", "_").rpartition(".")[2]
        near = [by_last[word] for word in difflib.get_close_matches(last, by_last, n=1, cutoff=0.75)]
    return f"; did you mean {near[0]!r}?" if near else ""


@cache
def _leaves() -> Mapping[str, Any]:
    """Every key that holds a value, with its field, in the order of the model."""
    found: dict[str, Any] = {}
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found.update({f"{name}.{inner}": field for inner, field in info.annotation.model_fields.items()})
        else:
            found[name] = info
    return MappingProxyType(found)


@cache
def _sections() -> frozenset[str]:
    return frozenset(key.partition(".")[0] for key in _leaves() if "." in key)


@cache
def _reader(key: str) -> tuple[TypeAdapter[Any], bool]:
    info = _leaves()[key]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
    return adapter, info.default is None


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


def _value_at(tree: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.rpartition(".")
    return (tree[section] if section else tree)[name]
