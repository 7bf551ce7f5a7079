"""Where MLflow is: tracking URIs, and whether one can be meant."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

#: One request may take so long (seconds); an upload as long as the server keeps reading.
TIMEOUT = 10

_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")


class TrackingError(ValueError):
    """MLflow cannot be used as asked."""


def checked_uri(uri: str | None, runs_folder: Path) -> str:
    """The tracking URI to use; raises :class:`TrackingError` for one that MLflow could not understand."""
    if uri is None:
        return f"sqlite:///{runs_folder.absolute() / 'mlflow.db'}"
    allowed = "allowed: null (a database in the runs folder), sqlite:///FILE, http://HOST:PORT, postgresql://..., "
    allowed += "databricks"
    if uri == "databricks":
        return uri
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    try:
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    if scheme == "file":
        problem = "is a folder of files, which MLflow no longer writes (mlflow migrate-filestore makes it a database)"
    elif scheme not in _SCHEMES:
        problem = f"has the scheme {scheme!r}" if scheme else "has no scheme"
    elif scheme == "sqlite" and not re.match(r"sqlite(\+\w+)?:///.", uri):
        problem = "names no database file (three slashes before a relative path, four before an absolute one)"
    elif scheme in ("http", "https") and not parts.hostname:
        problem = "names no host"
    elif not port_is_right:
        problem = "has a port that is not a number from 1 to 65535"
    else:
        return uri
    raise TrackingError(f"tracking.uri {shown(uri)!r} {problem}; {allowed}")


def database_file(uri: str) -> Path | None:
    """The file of a SQLite tracking URI."""
    return Path(uri.partition(":///")[2].partition("?")[0]).absolute() if uri.startswith("sqlite") else None


def no_answer(uri: str, error: Exception) -> str:
    remedy = "make the folder writable" if database_file(uri) else "start the server or correct the address"
    remedy += ", or set tracking.uri to null to record in the runs folder"
    return f"MLflow at tracking.uri {shown(uri)!r} does not answer: {sentence(error)}; {remedy}"


def shown(uri: str) -> str:
    """A URI without its password."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def sentence(error: Exception | None) -> str:
    """What an error says, short enough for a sentence; of a failed connection the reason alone."""
    text = str(error).strip() or type(error).__name__
    reason = re.search(r"\[Errno -?\d+\] [\w ]+|Read timed out|Name or service not known", text)
    line = reason[0] if reason else text.splitlines()[0]
    return line if len(line) <= 200 else f"{line[:200]}..."
