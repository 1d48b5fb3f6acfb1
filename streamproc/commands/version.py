"""``streamproc version``: what to put into a report of a fault."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import click

import streamproc

_PACKAGES = {"av": "av", "opencv": "opencv-python-headless", "numpy": "numpy", "boto3": "boto3"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def version(as_json: bool) -> None:
    """Print the versions of streamproc, Python, av, FFmpeg, OpenCV and others."""
    versions = {
        "streamproc": streamproc.__version__,
        "python": platform.python_version(),
        **{name: _installed(package) for name, package in _PACKAGES.items()},
        "ffmpeg": _ffmpeg(),
        "platform": platform.platform(),
    }
    if as_json:
        click.echo(json.dumps(versions, indent=2))
        return
    width = max(map(len, versions))
    for name, text in versions.items():
        click.echo(f"{name:<{width}}  {text}")


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _ffmpeg() -> str:
    """Of the FFmpeg inside av; a broken installation is told, not raised: this command is for finding out."""
    try:
        import av
    except ImportError as error:
        return f"not usable: {error}"
    return av.ffmpeg_version_info
