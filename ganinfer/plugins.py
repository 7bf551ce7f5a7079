"""Plugins: found by entry point, loaded when used.

Built-in plugins are registered as a third party registers its own. Nothing is imported to list them, and a broken
plugin is an error only for who asks for it. The other way to name code is a Python file, whose text travels with the
experiment (:func:`load_code`).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import json
import linecache
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import ganinfer
from ganinfer.interfaces import API_VERSION

#: The kinds of plugin; the entry-point group of a kind is ``ganinfer.KIND``.
GROUPS = ("simulators", "discriminators", "generators", "demographies")
DISTRIBUTION = "ganinfer"
#: What the names of modules that come from a file begin with; nobody else can import them.
FILE_MODULE = "ganinfer_file_"
#: What a plugin of each kind must offer to be called at all; `ganinfer plugins check` looks further.
_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "simulators": ("api_version", "produces", "simulate"),
    "discriminators": ("build",),
    "generators": ("api_version", "plan", "init", "propose", "step"),
    "demographies": (),
}


class PluginError(ValueError):
    """A plugin is missing, ambiguous, broken, or was given options it does not take."""


@dataclass(frozen=True)
class PluginInfo:
    """A registered plugin, known without importing it; ``error`` says why it cannot work, when that is plain."""

    name: str
    kind: str
    value: str
    distribution: str
    version: str
    error: str | None = None

    @property
    def where(self) -> str:
        return f"{self.distribution} {self.version}".strip()


def available(kind: str) -> list[PluginInfo]:
    """Every registered plugin of a kind, sorted by name; nothing of theirs is imported."""
    found = _entry_points(kind)
    names = [e.name for e in found]
    return [_info(e, kind, _plain_error(e, names.count(e.name))) for e in sorted(found, key=lambda e: e.name)]


def load(kind: str, name: str) -> Any:
    """What the entry point ``name`` of a kind names: a class, a module (discriminators) or a function (demographies).

    Raises :class:`PluginError` when it is not installed, installed twice, cannot be imported, is written for another
    version of the interface, or, for a built-in, is shadowed by a folder of the same name.
    """
    found = [e for e in _entry_points(kind) if e.name == name]
    if not found:
        raise PluginError(_unknown(kind, name))
    if len(found) > 1:
        raise PluginError(f"{_singular(kind)} {name!r}: {_duplicate(found)}")
    info = _info(found[0], kind)
    problem = _plain_error(found[0], 1)
    if problem and info.distribution != DISTRIBUTION:
        raise PluginError(f"{_title(info)}: {problem}")
    _refuse_shadow(found[0], info)
    plugin = _imported(found[0], info)
    _check_members(plugin, kind, _title(info))
    return plugin


def load_simulator(simulator: str | Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """The simulator of a scenario, constructed once in each process for the same options.

    ``simulator`` is a plugin's name or ``{"file", "class", "text", "sha256"}``; ``options`` are JSON values. Raises
    :class:`PluginError` for what :func:`load` raises and for options that the simulator does not take or refuses.
    """
    source = simulator if isinstance(simulator, str) else _canonical(dict(simulator), "simulator")
    return _simulator(source, isinstance(simulator, str), _canonical(dict(options), f"options of {simulator!r}"))


def load_code(code: Mapping[str, Any], attribute: str) -> Any:
    """The class or function ``attribute`` of a Python file given as ``{"file", "text", "sha256"}``.

    The text is executed once in each process, in a module of its own. Raises :class:`PluginError` naming file and line.
    """
    file, text = str(code["file"]), str(code["text"])
    digest = hashlib.sha256(text.encode()).hexdigest()
    if code.get("sha256", digest) != digest:
        raise PluginError(
            f"{file}: the text has SHA-256 {digest}, the experiment recorded {code['sha256']}; one of them was changed"
        )
    module = _module(file, text, digest)
    if not hasattr(module, attribute):
        defined = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        raise PluginError(
            f"{file}: defines no {attribute!r}; it defines {_listed(defined)}{_closest(attribute, defined)}"
        )
    return getattr(module, attribute)


def read_code(path: Path, written: str) -> dict[str, str]:
    """``{"file", "text", "sha256"}`` of a Python file; ``written`` is its name as the experiment has it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"{written}: cannot be read as a Python file ({error})") from error
    return {"file": written, "text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def refresh() -> None:
    """Forget what was found and constructed, after something was installed or removed in this process."""
    _entry_points.cache_clear()
    _simulator.cache_clear()
    importlib.invalidate_caches()


# --- finding ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _entry_points(kind: str) -> tuple[EntryPoint, ...]:
    if kind not in GROUPS:
        raise PluginError(f"unknown kind of plugin {kind!r}; there are {', '.join(GROUPS)}")
    return tuple(dict.fromkeys(entry_points(group=f"ganinfer.{kind}")))


def _info(entry: EntryPoint, kind: str, error: str | None = None) -> PluginInfo:
    distribution = entry.dist.name if entry.dist else "unknown distribution"
    return PluginInfo(entry.name, kind, entry.value, distribution, entry.dist.version if entry.dist else "", error)


def _plain_error(entry: EntryPoint, num_named: int) -> str | None:
    """What can be said against an entry point without importing it."""
    if num_named > 1:
        return _duplicate([e for e in _entry_points(entry.group.removeprefix("ganinfer.")) if e.name == entry.name])
    if entry.pattern.match(entry.value) is None:
        return f"the entry point {entry.value!r} is not of the form package.module:attribute"
    if _top_level_spec(entry) is None:
        return f"the package {entry.module.partition('.')[0]!r} is not installed"
    return None


def _duplicate(entries: Iterable[EntryPoint]) -> str:
    owners = sorted(f"{_info(e, '').where} ({e.value})" for e in entries)
    return f"registered more than once, by {' and by '.join(owners)}; uninstall all but one"


def _unknown(kind: str, name: str) -> str:
    names = sorted({e.name for e in _entry_points(kind)})
    return f"no {_singular(kind)} {name!r} is installed; installed: {_listed(names)}{_closest(name, names)}"


def _singular(kind: str) -> str:
    return "demography" if kind == "demographies" else kind.removesuffix("s")


def _title(info: PluginInfo) -> str:
    return f"{_singular(info.kind)} {info.name!r} ({info.where}, {info.value})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _closest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


# --- loading ----------------------------------------------------------------------------------------------------


def _top_level_spec(entry: EntryPoint) -> Any:
    try:
        return importlib.util.find_spec(entry.module.partition(".")[0])
    except (ImportError, ValueError):
        return None


def _refuse_shadow(entry: EntryPoint, info: PluginInfo) -> None:
    """``simulators`` and ``discriminators`` are names that a user's own folder may have: ours lie beside the engine."""
    if info.distribution != DISTRIBUTION:
        return
    package = entry.module.partition(".")[0]
    expected = Path(ganinfer.__file__).resolve().parent.parent / package
    spec = _top_level_spec(entry)
    folders = [Path(f).resolve() for f in (spec.submodule_search_locations or [])] if spec else []
    if folders == [expected]:
        return
    shadow = folders[0] if folders else Path(spec.origin).resolve() if spec and spec.origin else None
    if shadow is None:
        raise PluginError(
            f"{_title(info)}: the package {package!r} is missing from {expected.parent}; install it again"
        )
    raise PluginError(
        f"{_title(info)}: {shadow} hides ganinfer's own package {package!r} in {expected}; "
        f"rename it, or run from another folder and without it on PYTHONPATH"
    )


def _imported(entry: EntryPoint, info: PluginInfo) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{_title(info)} could not be imported: {_described(error)}") from error


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _check_members(plugin: Any, kind: str, title: str) -> None:
    missing = [m for m in _MEMBERS[kind] if not hasattr(plugin, m)]
    if missing:
        raise PluginError(f"{title} has no {_listed(missing)}; a {_singular(kind)} needs {_listed(_MEMBERS[kind])}")
    if kind == "demographies" and not callable(plugin):
        raise PluginError(f"{title} is not a function of named parameters")
    version = getattr(plugin, "api_version", API_VERSION)
    if str(version).partition(".")[0] != API_VERSION.partition(".")[0]:
        raise PluginError(
            f"{title} is written for interface {version}, this is ganinfer {ganinfer.__version__} with interface "
            f"{API_VERSION}; install versions of the two that agree"
        )


def _canonical(values: Mapping[str, Any], what: str) -> str:
    try:
        return json.dumps(values, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{what} must be JSON values: {error}") from error


@lru_cache(maxsize=64)
def _simulator(source: str, named: bool, options: str) -> Any:
    if named:
        factory, title = load("simulators", source), f"simulator {source!r}"
    else:
        code = json.loads(source)
        factory, title = load_code(code, code["class"]), f"simulator {code['class']} of {code['file']}"
        _check_members(factory, "simulators", title)
    return _constructed(factory, json.loads(options), title)


def _constructed(factory: Callable[..., Any], options: dict[str, Any], title: str) -> Any:
    _check_options(factory, options, title)
    try:
        simulator = factory(**options)
        complete = hasattr(simulator, "parameters")
    except ValueError as error:
        raise PluginError(f"{title}: {error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{title} failed on its options: {_described(error)}") from error
    if not complete:
        raise PluginError(
            f"{title} has no parameters; a simulator needs {_listed([*_MEMBERS['simulators'], 'parameters'])}"
        )
    return simulator


def _check_options(factory: Callable[..., Any], options: Mapping[str, Any], title: str) -> None:
    """Raise :class:`PluginError` for an option that the constructor does not take, or one it needs and is not given."""
    accepted = option_parameters(factory)
    if accepted is None:
        return
    for name in options:
        if name not in accepted:
            names = list(accepted)
            raise PluginError(f"{title} has no option {name!r}; it takes {_listed(names)}{_closest(name, names)}")
    missing = [n for n, p in accepted.items() if p.default is inspect.Parameter.empty and n not in options]
    if missing:
        raise PluginError(f"{title} needs the option{'s' * (len(missing) > 1)} {_listed(missing)}")


def option_parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The keyword arguments a plugin is constructed with; ``None`` when it takes any, or does not say."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def option_defaults(factory: Callable[..., Any], skip: int = 0) -> dict[str, Any]:
    """The defaults of a plugin's options where it says them and they are JSON values; ``skip`` first parameters."""
    accepted = list((option_parameters(factory) or {}).items())[skip:]
    known = {}
    for name, parameter in accepted:
        if parameter.default is inspect.Parameter.empty:
            continue
        try:
            known[name] = json.loads(json.dumps(parameter.default, allow_nan=False))
        except (TypeError, ValueError):
            continue
    return known


@lru_cache(maxsize=64)
def _module(file: str, text: str, digest: str) -> ModuleType:
    module = ModuleType(f"{FILE_MODULE}{digest[:16]}")
    module.__file__ = file
    # Known to `sys.modules`, as dataclasses want, and to `linecache`, so that tracebacks show the lines.
    sys.modules[module.__name__] = module
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    try:
        exec(compile(text, file, "exec"), vars(module))
    except SyntaxError as error:
        raise PluginError(f"{file}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{file}{line_in(error, file)}: {_described(error)}{_travel_hint(error)}") from error
    return module


def line_in(error: BaseException, file: str) -> str:
    """``, line N``: the innermost line of ``file`` in an error's traceback, or nothing."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {lines[-1]}" if lines else ""


def _travel_hint(error: BaseException) -> str:
    if not isinstance(error, ImportError):
        return ""
    return " (the file travels alone: it can import installed packages, not files beside it)"
