"""Fixtures that several test modules share: toy plugins found by their metadata, and one Ray for the session."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganinfer import execution, plugins
from ganinfer.execution import Executor
from tests import toy_plugins


def pytest_configure() -> None:
    """A suite that a shell started in the background ignores Ctrl-C, and so would the programs that it interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the toy plugins, on this process's search path and so on its workers'."""
    folder = toy_plugins.install(tmp_path_factory.mktemp("site"))
    sys.path.insert(0, str(folder))
    plugins.refresh()
    yield folder
    sys.path.remove(str(folder))
    plugins.refresh()


@pytest.fixture(scope="session")
def embedded_ray(toys: Path) -> Iterator[Executor]:
    """A Ray of our own with two workers; executors made while it runs use it and leave it running."""
    with execution.make("ray", 2) as executor:
        yield executor


@pytest.fixture(params=execution.KINDS)
def executor(request: pytest.FixtureRequest, toys: Path) -> Iterator[Executor]:
    """Each executor in turn, with two workers where it has workers."""
    if request.param == "ray":
        request.getfixturevalue("embedded_ray")
    with execution.make(request.param, 2) as made:
        yield made
