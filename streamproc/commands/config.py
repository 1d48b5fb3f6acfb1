"""``streamproc config``: check, show and describe the configuration, without touching the network."""

from __future__ import annotations

import json
from pathlib import Path

import click

from streamproc.commands.options import load, settings_options


@click.group()
def config() -> None:
    """Check, show and describe the configuration.

    Settings come from, each winning over the one before: defaults, the YAML file, the environment
    (STREAMPROC__SEGMENT__SECONDS=2), --set segment.seconds=2.
    """


@config.command()
@settings_options
def check(file: Path | None, assignments: tuple[str, ...]) -> None:
    """Look for faults; each is one line.

    Exits with 0 if there are none, with 78 otherwise. Nothing outside the configuration is looked at.
    """
    loaded = load(file, assignments)
    changed = sum(origin != "default" for origin in loaded.origins.values())
    click.echo(
        f"no faults; {changed} of {len(loaded.origins)} settings are given, the others have their defaults", err=True
    )


@config.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="As one JSON object: key to value and origin.")
def show(file: Path | None, assignments: tuple[str, ...], as_json: bool) -> None:
    """Print every setting: key, value, origin."""
    loaded = load(file, assignments)
    values = loaded.values()
    if as_json:
        report = {key: {"value": value, "origin": loaded.origins[key]} for key, value in values.items()}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    shown = {key: "" if value is None else str(value) for key, value in values.items()}
    key_width, value_width = max(map(len, shown)), max(map(len, shown.values()))
    for key, text in shown.items():
        click.echo(f"{key:<{key_width}}  {text:<{value_width}}  {loaded.origins[key]}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the YAML file, for editors."""
    from streamproc.settings import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
