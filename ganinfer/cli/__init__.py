"""The command line. Everything heavy is imported inside the commands, so that ``--help`` answers at once."""

import signal
import sys
from types import FrameType

from ganinfer.cli import beginning, commands, looking, plugin_commands
from ganinfer.cli.app import app

__all__ = ["app", "beginning", "commands", "looking", "main", "plugin_commands"]


def main() -> None:
    """The ``ganinfer`` program. A terminated run cleans up like an interrupted one: no worker outlives it."""
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="ganinfer")


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
