"""The command line. Everything heavy is imported inside the commands, so that ``--help`` answers at once."""

import signal
from types import FrameType

from ganinfer.cli import beginning, bundle_commands, commands, looking, plugin_commands
from ganinfer.cli.app import app
from ganinfer.cli.guard import Terminated

__all__ = ["app", "beginning", "bundle_commands", "commands", "looking", "main", "plugin_commands"]


def main() -> None:
    """The ``ganinfer`` program. A terminated run ends like an interrupted one: no worker outlives it."""
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="ganinfer")


def _terminated(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # batch systems repeat it, and clearing up should not be broken off
    raise Terminated
