"""The command line. Everything heavy is imported inside the commands, so that ``--help`` answers at once."""

from ganinfer.cli.commands import app, main

__all__ = ["app", "main"]
