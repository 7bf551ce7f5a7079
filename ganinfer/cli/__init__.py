"""The command line. Everything heavy is imported inside the commands, so that ``--help`` answers at once."""

from ganinfer.cli import beginning, commands, looking, plugin_commands
from ganinfer.cli.app import app

__all__ = ["app", "beginning", "commands", "looking", "main", "plugin_commands"]


def main() -> None:
    """The ``ganinfer`` program."""
    app(prog_name="ganinfer")
