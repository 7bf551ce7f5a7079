"""Exit codes, and one clean message in place of a traceback."""

from __future__ import annotations

import errno
import functools
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

OK, FAILED, USAGE, MISSING, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143

EXIT_CODES = (
    "Exit codes: 0 done, 1 the run failed, or doctor or plugins check found a problem, 2 a mistake on the command "
    "line, in the experiment or in its data, 3 an optional dependency is missing, 130 interrupted (Ctrl-C) and 143 "
    "terminated (SIGTERM): go on with --resume."
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Help")]

#: Packages whose ValueErrors are messages for users; raised elsewhere they are our own bugs.
_OURS = ("ganinfer", "simulators", "discriminators")
_EXTRAS = {"zarr": "zarr", "bio2zarr": "zarr", "vcztools": "zarr", "tszip": "zarr"}


class Terminated(KeyboardInterrupt):
    """SIGTERM, as batch systems send it when time is up: in all but its exit code a Ctrl-C."""


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with a ``--debug`` option whose errors become a message and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, debug: bool = False, **options: Any) -> None:
        try:
            command(*args, **options)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Terminated:
            fail("terminated", TERMINATED)
        except KeyboardInterrupt:
            fail("interrupted", INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output (head, less) has seen enough; Python would complain again on closing.
            sys.stderr.close()
            raise typer.Exit(OK) from None
        except Exception as error:
            if debug:
                traceback.print_exc()
            fail(*explain(error))

    # Evaluated here, in the command's own module: the wrapper's globals are those of this one.
    signature = inspect.signature(command, eval_str=True)
    parameter = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug)
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), parameter]
    )
    wrapper.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()} | {"debug": Debug}
    return wrapper


def fail(message: str, code: int) -> None:
    """Ends the command."""
    typer.echo(message if code in (INTERRUPTED, TERMINATED) else f"error: {message}", err=True)
    raise typer.Exit(code)


def explain(error: Exception) -> tuple[str, int]:
    """Message and exit code of an error."""
    if isinstance(error, ImportError) and error.name and error.name.partition(".")[0] not in _OURS:
        return _missing(error), MISSING
    problems = getattr(error, "problems", ())
    if len(problems) > 1:
        return "\n  ".join([f"{len(problems)} problems", *problems]), USAGE
    if isinstance(error, OSError) and not isinstance(error, ValueError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", FAILED
    if isinstance(error, ValueError) and _raised_by_us(error):
        return str(error), FAILED if _while_running(error) or _disk_full(error) else USAGE
    hint = "this is a bug in ganinfer or in a plugin; --debug shows where"
    return f"{type(error).__name__}: {error} ({hint})", FAILED


def _missing(error: ImportError) -> str:
    package = str(error.name).partition(".")[0]
    extra = _EXTRAS.get(package)
    remedy = f'pip install "ganinfer[{extra}]"' if extra else f"pip install {package}"
    return f"the package {package!r} is needed for this and cannot be imported ({error}); {remedy}"


def _raised_by_us(error: Exception) -> bool:
    if type(error) is not ValueError:
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame else ""
    return module.partition(".")[0] in _OURS


def _disk_full(error: BaseException | None) -> bool:
    """Whether a full disk, quota or limit on file sizes is behind an error: nobody's mistake in what was given."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        error = error.__cause__
    return False


def _while_running(error: Exception) -> bool:
    """Whether an error came up in the middle of a run rather than in what the user gave."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"SimulationError", "WorkerError", "FailedError"})
