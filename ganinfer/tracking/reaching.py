"""Whether a record can be kept at a tracking URI, as far as that is known in seconds and without importing MLflow."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ganinfer.tracking.address import TIMEOUT, TrackingError, checked_uri, database_file, no_answer, sentence, shown

_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
#: A request that every MLflow server answers, wherever a proxy has put it.
_QUESTION = "/api/2.0/mlflow/experiments/search"
_SQLITE = b"SQLite format 3\0"


def check_reachable(uri: str | None) -> None:
    """Raise :class:`TrackingError` for a URI that is malformed or behind which no MLflow or database is found.

    Passwords are left to MLflow, and so is ``databricks``, whose address only its own settings know.
    """
    if uri is None:
        return
    scheme = urlsplit(checked_uri(uri, Path())).scheme.partition("+")[0]
    if scheme == "sqlite":
        _check_file(uri)
    elif scheme in ("http", "https"):
        _check_server(uri)
    elif scheme in _DATABASE_PORTS:
        _check_database(uri, _DATABASE_PORTS[scheme])


def _check_file(uri: str) -> None:
    """The database can be opened, or made; nothing is left behind."""
    path = database_file(uri)
    assert path is not None
    try:
        folder = next(parent for parent in path.parents if parent.exists())
        # Permissions do not tell: some folders let nobody write, not even who owns them. SQLite writes beside its file.
        with tempfile.TemporaryFile(dir=folder):
            pass
        if path.exists():
            with path.open("r+b") as file:
                start = file.read(len(_SQLITE))
            if start not in (b"", _SQLITE):
                raise TrackingError(f"tracking.uri {shown(uri)!r}: {path} is no SQLite database; name another file")
    except OSError as error:
        raise TrackingError(no_answer(uri, error)) from error


def _check_server(uri: str) -> None:
    """A server answers as MLflow does; one that asks who we are is believed."""
    import requests

    try:
        answer = requests.get(uri.rstrip("/") + _QUESTION, params={"max_results": "1"}, timeout=TIMEOUT)
    except requests.exceptions.SSLError:
        return  # MLflow has its own settings for certificates
    except (requests.exceptions.RequestException, OSError) as error:
        raise TrackingError(no_answer(uri, error)) from error
    if answer.status_code in (401, 403, 407, 429) or (answer.ok and isinstance(_json(answer), dict)):
        return
    found = f"HTTP status {answer.status_code}, {answer.headers.get('content-type', 'no content type')}"
    raise TrackingError(
        f"tracking.uri {shown(uri)!r}: a server answers there, but not as MLflow does ({found} for {_QUESTION}); "
        "correct the address (with the path under which MLflow is served, if any), or see the server's log"
    )


def _json(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _check_database(uri: str, port: int) -> None:
    """Something listens where the database is said to be, and there is a driver to talk to it."""
    parts = urlsplit(uri)
    # Without a host it is a socket of this machine; several hosts, or those in the query, are for the driver to try.
    if parts.hostname and "," not in parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or port), timeout=TIMEOUT).close()
        except OSError as error:
            raise TrackingError(no_answer(uri, error)) from error
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except (ImportError, SQLAlchemyError) as error:
        raise TrackingError(
            f"tracking.uri {shown(uri)!r}: the database's driver cannot be used ({sentence(error)}); install it beside "
            "mlflow, or name one that is installed, such as postgresql+psycopg2://..."
        ) from error
