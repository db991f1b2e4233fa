"""Services and their releases, from the command line: `python -m serving.platform`."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from serving.platform import connect, release_table
from serving.platform.host import Host
from serving.platform.interface import PlatformError, Revision, ServiceStatus
from serving.platform.local import LocalPlatform, default_state_dir
from serving.platform.restoration import restore

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
StateDir = Annotated[Path, typer.Option(help="The folder after 'local:' of the platform.")]
Namespace = Annotated[str, typer.Option(help="Namespace of the services.")]
Service = Annotated[str, typer.Argument(help="Name of the service.")]
Platform = Annotated[str, typer.Option(help="local[:<state folder>] or kserve[:key=value,…].")]
_HERE = default_state_dir()


def _connect(state_dir: Path, namespace: str) -> LocalPlatform:
    return LocalPlatform(state_dir.expanduser().resolve(), namespace=namespace)


@app.command("list")
def list_services(state_dir: StateDir = _HERE, namespace: Namespace = "default") -> None:
    """List the services and what each consists of."""
    platform = _connect(state_dir, namespace)
    _show([platform.status(service) for service in platform.services()])


@app.command()
def status(service: Service, state_dir: StateDir = _HERE, namespace: Namespace = "default") -> None:
    """Show one service."""
    found = _connect(state_dir, namespace).status(service)
    _show([found])
    if found.last_rollback:
        typer.echo(
            f"last rolled back: {found.last_rollback.revision}: {found.last_rollback.reason}"
        )


@app.command()
def start(service: Service, state_dir: StateDir = _HERE, namespace: Namespace = "default") -> None:
    """Start a stopped service again as it was."""
    _show([_connect(state_dir, namespace).start(service)])


@app.command()
def stop(
    service: Annotated[str, typer.Argument(help="Name of the service; empty for all.")] = "",
    state_dir: StateDir = _HERE,
    namespace: Namespace = "default",
) -> None:
    """Stop every process of a service, or of all; the state stays."""
    platform = _connect(state_dir, namespace)
    found = platform.services()
    if service and service not in found:
        raise PlatformError(
            f"{service}: no such service below {state_dir}, expected "
            + (f"one of {', '.join(found)}" if found else "a folder with services")
        )
    for name in [service] if service else found:
        platform.stop(name)
        typer.echo(f"{name}: stopped")


@app.command()
def host(state_dir: StateDir = _HERE) -> None:
    """Keep the services of a folder running for those who deploy from containers, until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    Host(state_dir.expanduser().resolve()).run()


@app.command()
def delete(service: Service, state_dir: StateDir = _HERE, namespace: Namespace = "default") -> None:
    """Stop a service and forget it."""
    _connect(state_dir, namespace).delete(service)
    typer.echo(f"{service}: deleted")


@app.command()
def abort(
    service: Service,
    platform: Platform,
    namespace: Namespace = "default",
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "aborted by hand",
) -> None:
    """Take the candidate of a running rollout away; the stable revision answers everybody."""
    status = connect(platform, namespace=namespace).roll_back(service, reason=reason)
    _show([status])


@app.command()
def clean_up(service: Service, platform: Platform, namespace: Namespace = "default") -> None:
    """Delete the temporary services that dead deployments of a service left behind."""
    found = connect(platform, namespace=namespace).clean_up(service)
    for one in found:
        said = f"deleted, {one.left_over}" if one.left_over else "left alone, it is in use"
        typer.echo(f"{one.name}: {said}")
    if not found:
        typer.echo(f"{service}: found no temporary services")


@app.command()
def releases(
    service: Service,
    platform: Platform,
    namespace: Namespace = "default",
    events: Annotated[bool, typer.Option("--events", help="Everything that was done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for programs.")] = False,
) -> None:
    """List what was released on a service: by whom, from which run, how it ended and why."""
    log = connect(platform, namespace=namespace).releases(service)
    if as_json:
        typer.echo(json.dumps(release_table.as_json(service, log), indent=1))
        return
    _print(release_table.event_table(log) if events else release_table.release_table(log))
    for note in release_table.notes(log):
        typer.echo(note)


@app.command()
def roll_back(
    service: Service,
    platform: Platform,
    to: Annotated[str, typer.Option(help="Version or package URI of an earlier release.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    namespace: Namespace = "default",
    force: Annotated[
        bool, typer.Option("--force", help="Also one that was rolled back or never promoted.")
    ] = False,
    ready_timeout_s: Annotated[float, typer.Option(help="Time to become ready, s.")] = 300.0,
) -> None:
    """Give everybody an earlier release again, with the settings it had."""
    found = restore(
        connect(platform, namespace=namespace),
        service,
        to=to,
        reason=reason,
        force=force,
        timeout_s=ready_timeout_s,
    )
    _show([found.status])
    done = (
        f"back to {found.release.name}"
        if found.changed
        else (f"{found.release.name} is stable already, nothing was done")
    )
    typer.echo(f"{service}: {done}")


def _show(services: list[ServiceStatus]) -> None:
    table = Table("service", "url", "role", "revision", "traffic", "state", "model")
    for found in services:
        for role, revision in (("stable", found.stable), ("canary", found.canary)):
            if revision is not None:
                table.add_row(found.service, found.url, role, *_cells(revision))
        if found.stable is None and found.canary is None:
            table.add_row(found.service, found.url or "", "none", "", "", "", "")
    _print(table)


def _print(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cells(revision: Revision) -> tuple[str, str, str, str]:
    state = "ready" if revision.ready else revision.reason
    return revision.name, f"{revision.traffic_percent} %", state, revision.storage_uri


if __name__ == "__main__":
    try:
        app()
    except PlatformError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
