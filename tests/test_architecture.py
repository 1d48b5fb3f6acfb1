"""The rules of the house, kept by reading the source: who may import what, and who may build what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "streamproc"

STAGES = frozenset({"ingest", "decode", "detect", "track", "redact", "encode", "publish", "progress", "observe"})
# From the top down. A part may import what stands on lower lines, and itself; a line's parts do not know each other.
LAYERS: list[frozenset[str]] = [
    frozenset({"__main__"}),
    frozenset({"cli", "commands"}),
    frozenset({"app"}),
    frozenset({"batch"}),  # the pipeline's rules, over recordings
    frozenset({"pipeline", "console", "standin"}),
    STAGES,
    frozenset({"ports"}),
    frozenset({"model"}),
    frozenset({"settings", "errors"}),
    frozenset({""}),  # streamproc/__init__.py: the version
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# cli names its commands as text; they share one level and use each other's errors.
FRIENDS = {("commands", "cli"), ("cli", "commands"), ("settings", "errors")}
# The stand-in plays the outside world: production code that knew it would have a code path of its own.
STANDIN_USERS = ("streamproc/commands/demo.py", "streamproc/standin/")

# Top-level module -> where it may be imported, as beginnings of paths.
ALLOWED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("boto3", "botocore"),
        (
            "streamproc/ingest/getmedia.py",
            "streamproc/detect/rekognition.py",
            "streamproc/publish/s3.py",
            "streamproc/app.py",
            "streamproc/console/",
            "streamproc/standin/",
            "streamproc/commands/",
        ),
    ),
    "av": (
        "streamproc/decode/",
        "streamproc/encode/",
        "streamproc/standin/",
        "streamproc/commands/version.py",
    ),
    "cv2": (
        "streamproc/redact/",
        "streamproc/detect/",
        "streamproc/standin/",
        "streamproc/track/scene.py",
        "streamproc/track/flow.py",
        "streamproc/batch/chart.py",
    ),
    **dict.fromkeys(
        ("time", "random", "secrets", "uuid"),
        (
            "streamproc/app.py",
            "streamproc/settings/",
            "streamproc/standin/",
            "streamproc/commands/",
            "streamproc/console/",
            "streamproc/cli.py",
        ),
    ),
    **dict.fromkeys(("pydantic", "yaml"), ("streamproc/settings/",)),
    "click": ("streamproc/cli.py", "streamproc/commands/", "streamproc/standin/"),
    **dict.fromkeys(("moto", "flask"), ("streamproc/standin/", "streamproc/commands/demo.py")),
    **dict.fromkeys(("starlette", "uvicorn"), ("streamproc/console/", "streamproc/standin/", "streamproc/commands/")),
}
# Calls that read the clock or the environment without importing "time".
AMBIENT_CALLS = frozenset(
    {
        "os.environ",
        "os.getenv",
        "os.environb",
        "os.urandom",
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
    }
)
AMBIENT_USERS = ALLOWED["time"]
FORBIDDEN_NAME = re.compile(r"Manager|Helper")
PLACES = re.compile(  # written so that this file does not hold one itself
    r"[/]work/|/opt/(?:pypi|wheels)|[/]root/|/home/\w|pypi[.]org|pythonhosted|--[i]ndex-url|--[e]xtra-index|--[f]ind-links"
    r"|registry[.]npmjs|artifactory|devpi"
)


def part_of(path: str) -> str:
    """``ingest`` for ``streamproc/ingest/tags.py``, ``cli`` for ``streamproc/cli.py``, "" for the package itself."""
    inside = path.removeprefix("streamproc/").removesuffix(".py")
    part = inside.partition("/")[0]
    return "" if part == "__init__" else part


def imports(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every imported module by its full name; ``from streamproc import cli`` counts as ``streamproc.cli``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node, "."
            elif node.module == "streamproc":
                yield from ((node, f"streamproc.{alias.name}") for alias in node.names)
            else:
                yield node, node.module or ""


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def started_with(path: str, beginnings: tuple[str, ...]) -> bool:
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in beginnings)


def broken_layers(path: str, tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    mine = part_of(path)
    for node, module in imports(tree):
        if module == ".":
            yield node, "relative import: name the module in full"
        if module.partition(".")[0] != "streamproc":
            continue
        its = module.split(".")[1] if "." in module else ""
        its = "" if its == "__version__" else its
        if mine not in LEVEL or its not in LEVEL:
            yield node, f"{mine if mine not in LEVEL else its!r} is in no layer: add it to LAYERS"
        elif LEVEL[its] <= LEVEL[mine] and its != mine and (mine, its) not in FRIENDS:
            yield node, f"{mine or 'streamproc'} may not import {its}: imports point down only"
        if its == "standin" and not started_with(path, STANDIN_USERS):
            yield node, "only the demo and the tests may know the stand-in"


def broken_imports(path: str, tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node, module in imports(tree):
        top = module.partition(".")[0]
        if top in ALLOWED and not started_with(path, ALLOWED[top]):
            yield node, f"{top} may be imported in {', '.join(ALLOWED[top])} only"


def ambient(path: str, tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    if started_with(path, AMBIENT_USERS):
        return
    for node in ast.walk(tree):
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        if ".".join(name.split(".")[-2:]) in AMBIENT_CALLS:
            yield node, f"{name}: clock, chance and environment are handed in"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (
                (node, f"os.{alias.name} is handed in") for alias in node.names if f"os.{alias.name}" in AMBIENT_CALLS
            )


def foreign_redacted_frames(path: str, tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    if path.startswith("streamproc/redact/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "RedactedFrame":
            yield node, "only redact builds a RedactedFrame: nothing else has covered anything"
        if isinstance(node, ast.ImportFrom) and any(
            alias.name == "RedactedFrame" and alias.asname for alias in node.names
        ):
            yield node, "RedactedFrame keeps its name, so that whoever builds one is seen"


def forbidden_names(path: str, tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and FORBIDDEN_NAME.search(node.name):
            yield node, f"{node.name}: say what it does"
    if part_of(path) in {"utils", "util", "helpers", "common", "misc"} or Path(path).stem in {"utils", "helpers"}:
        yield tree, "a module says what it is for"


RULES = [broken_layers, broken_imports, ambient, foreign_redacted_frames, forbidden_names]


def faults(path: str, source: str) -> list[str]:
    tree = ast.parse(source)
    return [f"{path}:{getattr(node, 'lineno', 1)}: {reason}" for rule in RULES for node, reason in rule(path, tree)]


def source_files() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", source_files())
def test_every_file_keeps_the_rules_of_the_house(path: str) -> None:
    assert faults(path, (ROOT / path).read_text(encoding="utf-8")) == []


def committed_texts() -> list[Path]:
    """What a stranger gets: sources, configuration, documents; not what is built or fetched."""
    places = ["streamproc", "tests", "config", "deploy", "docs", ".ci"]
    found = [path for place in places for path in (ROOT / place).rglob("*") if path.is_file()]
    found += [path for path in ROOT.glob("*") if path.is_file() and path.name != "uv.lock"]
    known = {".py", ".md", ".yaml", ".yml", ".json", ".toml", ".lock", ".html", ".css", ".sh", ""}
    return [
        path
        for path in found
        if path.suffix in known
        and "vendor" not in path.parts
        and "__pycache__" not in path.parts
        and path != Path(__file__)
    ]


def test_no_file_names_a_place_of_one_machine_or_a_package_index() -> None:
    texts = committed_texts()
    assert PACKAGE / "cli.py" in texts
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts
        for match in PLACES.finditer(path.read_text(encoding="utf-8", errors="replace"))
        # .ci/lock and the test of the locks name the options in order to refuse them.
        if not (match.group().startswith("--") and path.name in {"lock", "test_lock.py"})
    ]
    assert found == []


PLANTED: dict[str, tuple[str, str, str]] = {
    "stage to stage": ("streamproc/track/x.py", "from streamproc.detect.sampling import Sampler", "imports point down"),
    "stage to app": ("streamproc/encode/x.py", "def f():\n    import streamproc.app", "imports point down"),
    "model to stage": ("streamproc/model/x.py", "from streamproc.redact import plan", "imports point down"),
    "model to settings' user": ("streamproc/settings/x.py", "from streamproc.model.frame import Frame", "point down"),
    "errors to settings": ("streamproc/errors.py", "import streamproc.settings", "point down"),
    "ports to a stage": ("streamproc/ports.py", "from streamproc.ingest import tags", "point down"),
    "pipeline to batch": ("streamproc/pipeline/x.py", "from streamproc.batch import replay", "imports point down"),
    "pipeline to console": ("streamproc/pipeline/x.py", "from streamproc import console", "point down"),
    "app to cli": ("streamproc/app.py", "from streamproc.cli import main", "point down"),
    "app to stand-in": ("streamproc/app.py", "from streamproc.standin import server", "only the demo"),
    "run to stand-in": ("streamproc/commands/run.py", "import streamproc.standin.server", "only the demo"),
    "relative": ("streamproc/track/x.py", "from . import coverage", "relative import"),
    "unknown part": ("streamproc/plates/x.py", "from streamproc.model import frame", "'plates' is in no layer"),
    "for type checkers too": (
        "streamproc/track/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from streamproc.redact.plan import Plan",
        "imports point down",
    ),
    "boto3 in a rule": ("streamproc/ingest/resume.py", "from botocore.exceptions import ClientError", "botocore may"),
    "boto3 in the pipeline": ("streamproc/pipeline/x.py", "import boto3", "boto3 may"),
    "av in redact": ("streamproc/redact/x.py", "import av.video", "av may"),
    "av in the commands": ("streamproc/commands/run.py", "import av", "av may"),
    "cv2 in encode": ("streamproc/encode/x.py", "import cv2", "cv2 may"),
    "cv2 in a tracker's rule": ("streamproc/track/matching.py", "import cv2", "cv2 may"),
    "time in a rule": ("streamproc/progress/x.py", "from time import monotonic", "time may"),
    "random in a rule": ("streamproc/ingest/x.py", "import random as r", "random may"),
    "environment in a stage": ("streamproc/publish/x.py", "import os\nos.environ.get('A')", "os.environ: clock"),
    "getenv in a stage": ("streamproc/publish/x.py", "from os import getenv", "os.getenv is handed in"),
    "now in a rule": ("streamproc/encode/x.py", "import datetime\ndatetime.datetime.now()", "datetime.now: clock"),
    "frame passed off as redacted": (
        "streamproc/pipeline/x.py",
        "from streamproc.model import frame\nframe.RedactedFrame(1, 2, 3, 4, 5, 6)",
        "only redact builds",
    ),
    "under another name": (
        "streamproc/encode/x.py",
        "from streamproc.model.frame import RedactedFrame as Frame",
        "keeps its name",
    ),
    "manager": ("streamproc/detect/x.py", "class PoolManager:\n    pass", "PoolManager: say what"),
    "helper": ("streamproc/detect/x.py", "def f():\n    class HelperOfAll: ...", "HelperOfAll: say what"),
    "utils": ("streamproc/detect/utils.py", "x = 1", "a module says"),
    "pydantic in a stage": ("streamproc/track/x.py", "import pydantic", "pydantic may"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_the_rule_bites_on_a_planted_fault(case: str) -> None:
    path, source, reason = PLANTED[case]
    found = faults(path, source)
    assert len([fault for fault in found if reason in fault]) == 1, found


ALLOWED_SOURCES: dict[str, tuple[str, str]] = {
    "stage to model, ports, settings": (
        "streamproc/track/x.py",
        "from streamproc import errors\nfrom streamproc.model.frame import Frame\nimport streamproc.ports\n"
        "from streamproc.settings import Settings",
    ),
    "inside one stage": ("streamproc/ingest/getmedia.py", "import boto3\nfrom streamproc.ingest.tags import parse"),
    "batch to pipeline": ("streamproc/batch/x.py", "from streamproc.pipeline.covering import Covering"),
    "app to everything below": ("streamproc/app.py", "import time\nfrom streamproc.pipeline import x\nimport boto3"),
    "demo to stand-in": ("streamproc/commands/demo.py", "from streamproc.standin import server"),
    "stand-in itself": (
        "streamproc/standin/__main__.py",
        "import av, cv2, time\nfrom streamproc.standin import kinesis",
    ),
    "redact builds": ("streamproc/redact/x.py", "from streamproc.model.frame import RedactedFrame\nRedactedFrame(1)"),
    "others only take": ("streamproc/encode/x.py", "def f(frame: 'RedactedFrame') -> bool:\n    return bool(frame)"),
    "a time of day that is given": ("streamproc/encode/x.py", "import datetime\ndatetime.datetime.fromtimestamp(0)"),
}


@pytest.mark.parametrize("case", ALLOWED_SOURCES)
def test_the_rules_allow_what_the_design_does(case: str) -> None:
    assert faults(*ALLOWED_SOURCES[case]) == []


# In pieces, so that this very file keeps the rule.
@pytest.mark.parametrize(
    "text", ["see /wo" + "rk/x", "/ro" + "ot/.ssh", "https://py" + "pi.org/simple", "--index" + "-url x"]
)
def test_places_of_one_machine_are_recognised(text: str) -> None:
    assert PLACES.search(text)
