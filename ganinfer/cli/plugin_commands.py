"""``ganinfer plugins``: what is installed, what it takes, whether it keeps its contract."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganinfer.cli.app import Json, app
from ganinfer.cli.guard import FAILED, guarded

if TYPE_CHECKING:
    from ganinfer.plugins import PluginInfo

plugins_app = typer.Typer(help="Simulators, discriminators, generators and demographies.", no_args_is_help=True)
app.add_typer(plugins_app, name="plugins")

Kind = Literal["simulators", "discriminators", "generators", "demographies"]
KindOption = Annotated[Kind | None, typer.Option(help="Which kind, where a name is ambiguous.")]


def _names() -> list[str]:
    from ganinfer import plugins

    return sorted({info.name for kind in plugins.GROUPS for info in plugins.available(kind)})


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_names)]


@plugins_app.command("list")
@guarded
def list_plugins(kind: KindOption = None, as_json: Json = False) -> None:
    """List what is installed; nothing is loaded for it."""
    from ganinfer import plugins
    from ganinfer.cli import show

    found = [info for one in plugins.GROUPS if kind in (None, one) for info in plugins.available(one)]
    rows = [
        {
            "kind": i.kind,
            "name": i.name,
            "from": i.where,
            "value": i.value,
            "status": f"broken: {i.error}" if i.error else "installed",
        }
        for i in found
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for line in show.table(rows):
        typer.echo(line)


@plugins_app.command("show")
@guarded
def show_plugin(name: Name, kind: KindOption = None, as_json: Json = False) -> None:
    """Say what a plugin is and which options it takes."""
    from ganinfer import plugins
    from ganinfer.cli import show

    info = _find(name, kind)
    plugin = plugins.load(info.kind, info.name)
    function = getattr(plugin, "build", plugin) if info.kind == "discriminators" else plugin
    values: dict[str, Any] = {
        "name": info.name,
        "kind": info.kind,
        "from": info.where,
        "value": info.value,
        "description": inspect.getdoc(plugin) or "",
        "options": _options(function, skip=1 if info.kind == "discriminators" else 0),
    }
    show.report(values, as_json)


def _options(function: Any, skip: int) -> list[dict[str, str]]:
    from ganinfer.plugins import option_parameters

    accepted = list((option_parameters(function) or {}).values())[skip:]
    return [
        {
            "option": p.name,
            "type": "" if p.annotation is p.empty else inspect.formatannotation(p.annotation).strip("'"),
            "default": "required" if p.default is p.empty else repr(p.default),
        }
        for p in accepted
    ]


@plugins_app.command("check")
@guarded
def check_plugin(
    name: Name,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the plugin; may be repeated.")
    ] = None,
    experiment: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Options and populations as in this experiment.")
    ] = None,
    kind: KindOption = None,
    as_json: Json = False,
) -> None:
    """Try a plugin against the contract of its kind."""
    from ganinfer.cli import show, values

    info = _find(name, kind)
    options = values.options(option) if option else None
    found = _checked(info, options) if experiment is None else _checked_as_in(experiment, info, options or {})
    show.report(found, as_json)
    if found["failed"]:
        raise typer.Exit(FAILED)


def _checked(info: PluginInfo, options: dict[str, Any] | None) -> dict[str, Any]:
    from ganinfer import testing

    return testing.check_plugin(info.kind, info.name, options)


def _checked_as_in(file: Path, info: PluginInfo, options: dict[str, Any]) -> dict[str, Any]:
    """With the options that an experiment gives the plugin; simulators also with its populations."""
    from ganinfer import experiment, plugins, testing

    loaded = experiment.load(file)
    if info.kind == "generators" and loaded.generator.name == info.name:
        return _checked(info, loaded.generator.options | options)
    if info.kind == "discriminators" and loaded.discriminator.name == info.name:
        return _checked(info, loaded.discriminator.options | options)
    for scenario in loaded.scenarios.values():
        if info.kind == "simulators" and scenario.simulator == info.name:
            design = experiment.small_design(loaded)
            return testing.check_simulator(info.name, scenario.options | options, design=design).values()
    raise plugins.PluginError(f"{file} does not use {info.name!r}")


def _find(name: str, kind: Kind | None) -> PluginInfo:
    """The plugin of that name; raises ValueError where there is none, or several and no kind was given."""
    from ganinfer import plugins
    from ganinfer.experiment.problems import closest

    kinds = [kind] if kind else list(plugins.GROUPS)
    found = [info for one in kinds for info in plugins.available(one) if info.name == name]
    if not found:
        raise plugins.PluginError(f"no plugin named {name!r} is installed; {closest(name, _names())}")
    if len({info.kind for info in found}) > 1:
        several = ", ".join(info.kind for info in found)
        raise plugins.PluginError(f"{name!r} is the name of several plugins; give --kind, one of {several}")
    return found[0]
