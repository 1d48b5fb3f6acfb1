"""What commands have in common: the options ``--config`` and ``--set``, and files that they write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from streamproc.errors import ConfigurationError

if TYPE_CHECKING:
    from streamproc.settings import LoadedSettings

P = ParamSpec("P")
R = TypeVar("R")


def settings_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--config FILE`` (parameter ``file: Path | None``) and ``--set`` (``assignments: tuple[str, ...]``)."""
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="One setting, for instance segment.seconds=2; may be repeated. Wins over file and environment.",
    )(command)
    # click does not look at the file: a missing one is a fault of the configuration (78), not of the usage.
    return click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="A YAML file.")(
        command
    )


def load(file: Path | None, assignments: tuple[str, ...]) -> LoadedSettings:
    """The settings of this process. Raises ``ConfigurationError`` with a line per fault."""
    from streamproc.settings import load_settings

    return load_settings(file, os.environ, assignments)


def check_writable(option: str, path: Path) -> None:
    """Raise ``ConfigurationError`` if the file an option names could not be written; an older one stays as it is."""
    try:
        if path.exists() and not path.is_file():
            return  # a pipe or a terminal: to open it for a try would end it for who reads there
        made = not path.exists()
        with path.open("a"):
            pass
        if made:
            path.unlink()
    except OSError as error:
        raise ConfigurationError(unwritable(option, path, error)) from None


def unwritable(option: str, path: Path, error: OSError) -> str:
    """Why the file that an option names could not be written, in one line."""
    return f"{option} {path}: cannot be written ({error.strerror or type(error).__name__}); name another file"
