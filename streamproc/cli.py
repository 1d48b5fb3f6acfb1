"""The command line: which commands there are, imported when they are used, and what the process exits with.

Nothing but click may be imported here: ``streamproc --help`` and completion answer before numpy would be loaded.

Exit codes: 0 done, 1 unexpected, 2 usage, 69 an outside service refuses or is away, 78 configuration, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from streamproc import __version__
from streamproc.errors import StreamprocError

DEBUG_VARIABLE = "STREAMPROC_DEBUG"
_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
_PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is imported when it is used.

    Attributes:
        target: ``module:attribute`` of a click command.
        help: Its line in the list of commands.
    """

    target: str
    help: str

    def load(self) -> click.Command:
        """Import it. Raises what the import raises."""
        module, _, attribute = self.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


COMMANDS: Mapping[str, LazyCommand] = {
    "demo": LazyCommand("streamproc.commands.demo:demo", "See it work here, without an AWS account."),
    "run": LazyCommand("streamproc.commands.run:run", "Redact one live stream until told to stop."),
    "evaluate": LazyCommand(
        "streamproc.commands.evaluate:evaluate", "Measure on your own recordings how well faces are covered."
    ),
    "config": LazyCommand("streamproc.commands.config:config", "Check, show and describe the configuration."),
    "version": LazyCommand("streamproc.commands.version:version", "Versions of this and of what it stands on."),
}


class LazyGroup(click.Group):
    """A group whose commands are names with a line of help until one of them is used."""

    def __init__(self, *args: object, lazy: Mapping[str, LazyCommand], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._lazy = lazy
        for name, command in lazy.items():
            self.add_command(click.Command(name, short_help=command.help))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: what a newcomer wants comes first."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command by click's rules, then import the real one."""
        name, command, rest = super().resolve_command(ctx, args)
        lazy = self._lazy.get(name or "")
        if command is not None and lazy is not None:
            command = lazy.load()
        return name, command, rest


@dataclass(slots=True)
class _Invocation:
    debug: bool


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n"
    "  streamproc demo\n"
    "  streamproc run my-camera --output s3://my-bucket/redacted\n"
    "  streamproc config check --config streamproc.yaml",
)
@click.version_option(__version__, prog_name="streamproc", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help=f"Print the traceback of an unexpected error (or set {DEBUG_VARIABLE}=1).")
@click.pass_context
def root(ctx: click.Context, debug: bool) -> None:
    """Find and cover faces in live Kinesis Video Streams, and store the result as video that browsers play."""
    if debug and isinstance(ctx.obj, _Invocation):
        ctx.obj.debug = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code; errors become one line on stderr."""
    invocation = _Invocation(debug=os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"))
    try:
        result = root.main(args=arguments, prog_name="streamproc", standalone_mode=False, obj=invocation)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except StreamprocError as error:
        if invocation.debug:
            traceback.print_exc()
        click.echo(str(error), err=True)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the edge of the process
        if invocation.debug:
            traceback.print_exc()
        click.echo(_unexpected(error), err=True)
        return 1


def _unexpected(error: Exception) -> str:
    """One line about an error nobody foresaw.

    Its message is told only where it comes from the system: any other may quote what was being worked on, which has no
    place in a log. ``--debug`` tells all.
    """
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("streamproc"):
        return (
            f"unexpected: the package {error.name!r} is not installed. "
            "Install requirements.lock, or for the demo: pip install 'streamproc[demo]'"
        )
    what = f"{type(error).__name__}: {error}" if isinstance(error, OSError | ImportError) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    place = f" at {Path(ours[-1].filename).relative_to(_PACKAGE.parent)}:{ours[-1].lineno}" if ours else ""
    return f"unexpected: {' '.join(what.split())}{place}. For the traceback: streamproc --debug ..."
