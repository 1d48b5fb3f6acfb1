"""The command line as a process: what it prints where, and what it exits with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamproc import cli
from streamproc.errors import AccessDenied, ConfigurationError, InStreamError, MediaError

ROOT = Path(__file__).parents[2]


def streamproc(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC")}
    return subprocess.run(
        [sys.executable, "-m", "streamproc", *arguments],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_loads_nothing_but_click() -> None:
    program = """
        import sys
        from streamproc.cli import main
        code = main(["--help"])
        heavy = {"pydantic", "yaml", "av", "cv2", "numpy", "boto3", "botocore", "rich", "asyncio"}
        commands = [name for name in sys.modules if name.startswith("streamproc.commands")]
        print(code, sorted(heavy & set(sys.modules)), commands)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "0 [] []"
    for name, command in cli.COMMANDS.items():
        assert f"{name} " in done.stdout
        assert command.help in done.stdout


def test_short_help_is_help_on_every_level() -> None:
    runner = CliRunner()
    for path in ([], ["config"], ["config", "check"], ["config", "show"], ["config", "schema"], ["version"]):
        short, long = runner.invoke(cli.root, [*path, "-h"]), runner.invoke(cli.root, [*path, "--help"])
        assert (short.exit_code, short.output) == (0, long.output)
        assert short.output.startswith("Usage: ")


@pytest.mark.parametrize("name", ["config", "version"])
def test_every_line_of_the_table_leads_to_its_command(name: str) -> None:
    assert cli.COMMANDS[name].load().name == name


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Usage: streamproc"),
        (["confg"], 2, "Did you mean 'config'?"),
        (["config", "shwo"], 2, "Did you mean 'show'?"),
        (["config", "check", "--confg", "x"], 2, "Did you mean '--config'?"),
        (["config", "check", "surplus"], 2, "unexpected extra argument"),
        (["config", "check", "--set"], 2, "requires an argument"),
        (["config", "check", "--set", "effect.cells=9"], 78, "--set: effect.cells: should be less than or equal to 4"),
        (["config", "check", "--set", "effect.cell=3"], 78, "did you mean 'effect.cells'?"),
        (["config", "show", "--config", "none.yaml"], 78, "none.yaml: cannot be read: No such file or directory\n"),
        (["config", "check", "--config", "config/streamproc.yaml"], 0, "no faults; 33 of 33"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_exit_code_and_what_people_are_told_on_stderr(arguments: list[str], code: int, said: str) -> None:
    done = streamproc(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_faults_of_file_and_environment_are_lines_an_editor_can_follow(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("segment:\n  seconds: 0\n  secs: 1\n")
    done = streamproc("config", "check", "--config", "s.yaml", cwd=tmp_path, STREAMPROC__AUDIO="loud")
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        "s.yaml:2:12: segment.seconds: should be greater than or equal to 0.5 (got '0')",
        "s.yaml:3:3: segment.secs: unknown key; did you mean 'segment.seconds'?",
        "environment STREAMPROC__AUDIO: audio: should be 'drop' or 'keep' (got 'loud')",
    ]


def test_show_says_what_holds_and_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("segment:\n  seconds: 2\neffect: {kind: solid}\n")
    arguments = ("config", "show", "--config", "s.yaml", "--set", "encode.crf=30")
    as_text = streamproc(*arguments, cwd=tmp_path, STREAMPROC__EFFECT__KIND="pixelate")
    as_json = streamproc(*arguments, "--json", cwd=tmp_path, STREAMPROC__EFFECT__KIND="pixelate")
    assert (as_text.returncode, as_text.stderr) == (as_json.returncode, as_json.stderr) == (0, "")
    report = json.loads(as_json.stdout)
    assert report["segment.seconds"] == {"value": 2.0, "origin": "s.yaml:2:12"}
    assert report["effect.kind"] == {"value": "pixelate", "origin": "environment STREAMPROC__EFFECT__KIND"}
    assert report["encode.crf"] == {"value": 30, "origin": "--set"}
    assert report["detect.model"] == {"value": None, "origin": "default"}
    lines = as_text.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(report)
    assert len({len(line) - len(each["origin"]) for line, each in zip(lines, report.values(), strict=True)}) == 1


def test_schema_command_prints_the_shipped_file() -> None:
    done = streamproc("config", "schema")
    assert done.stdout == (ROOT / "config" / "streamproc.schema.json").read_text()


def test_version_names_what_a_report_of_a_fault_needs() -> None:
    done = streamproc("version", "--json")
    assert set(json.loads(done.stdout)) >= {"streamproc", "python", "av", "ffmpeg", "opencv"}
    assert all(json.loads(done.stdout).values())
    assert streamproc("version").stdout.split()[:2] == ["streamproc", json.loads(done.stdout)["streamproc"]]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigurationError("a: b: c"), 78, "a: b: c\n"),
        (AccessDenied("no"), 69, "no\n"),
        (InStreamError(5000, "INTERNAL_ERROR"), 69, "the service ended the stream with error 5000 (INTERNAL_ERROR)\n"),
        (MediaError("odd"), 1, "odd\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.Abort(), 130, ""),
        (click.UsageError("how?"), 2, "Error: how?\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "unexpected: OSError: [Errno 28] No space left on device at streamproc/cli.py:",
        ),
        (ModuleNotFoundError("no", name="moto"), 1, "unexpected: the package 'moto' is not installed. "),
        (ValueError("plate B-XY 123\nmore"), 1, "unexpected: ValueError at streamproc/cli.py:"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("debug", [False, True])
def test_every_error_is_one_exit_code_and_one_line(
    error: BaseException, code: int, said: str, debug: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    monkeypatch.setattr(cli.LazyCommand, "load", lambda self: broken)
    assert cli.main(["--debug", "run"] if debug else ["run"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    if not debug:
        assert len(err.splitlines()) == (4 if code == 2 else said.count("\n") if code == 130 else 1)
        assert "B-XY" not in err
    elif isinstance(error, Exception) and not isinstance(error, click.Abort | click.ClickException):
        assert "Traceback (most recent call last)" in err


def test_debug_can_be_asked_for_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def broken() -> None:
        secret_local = "hunter" + "2"
        raise ValueError(len(secret_local))

    monkeypatch.setattr(cli.LazyCommand, "load", lambda self: broken)
    for value, traced in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv(cli.DEBUG_VARIABLE, value)
        assert cli.main(["run"]) == 1
        err = capsys.readouterr().err
        assert ("Traceback" in err) is traced
        assert "hunter2" not in err


def test_a_command_may_choose_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.argument("way")
    @click.pass_context
    def ending(ctx: click.Context, way: str) -> int | None:
        if way == "exit":
            ctx.exit(3)
        return 3 if way == "return" else None

    monkeypatch.setattr(cli.LazyCommand, "load", lambda self: ending)
    assert [cli.main(["run", way]) for way in ("exit", "return", "none")] == [3, 3, 0]


def test_ctrl_c_ends_a_running_process_with_130(tmp_path: Path) -> None:
    program = """
        import click, sys
        from streamproc import cli
        @click.command()
        def waiting():
            print("ready", flush=True)
            sys.stdin.read()
        cli.LazyCommand.load = lambda self: waiting
        sys.exit(cli.main(["run"]))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == ""
