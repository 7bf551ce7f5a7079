"""Data sets that are tried one by one, of which some may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ganinfer.runner.assembling import FailedError

#: So many that fail one after another are not the data sets' fault.
_IN_A_ROW = 3


class Tries:
    """Data sets are tried one by one; what fails is told, and keeps no other from being inferred."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._failed: list[str] = []
        self._in_a_row = 0

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """A data set; its error goes no further, unless those before it failed as well."""
        try:
            yield
        except Exception as error:  # of one, whatever it is, must not hide what the others say
            self._failed.append(f"{name}: {error}")
            self._told(f"{self._failed[-1]}; it is left out")
            self._in_a_row += 1
            if self._in_a_row == _IN_A_ROW:
                raise
        else:
            self._in_a_row = 0

    def check(self) -> None:
        """Raise :class:`FailedError` where any has failed."""
        if self._failed:
            number = "1 data set" if len(self._failed) == 1 else f"{len(self._failed)} data sets"
            raise FailedError(
                f"{number} failed and left out, so that coverage may be another with them: {'; '.join(self._failed)}. "
                "The same command tries them again."
            )
