"""What every command of the client takes: where the server is, and who asks."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from pipelines.client.connection import Access, Kubeflow, connect

P = ParamSpec("P")

_ACCESS = {
    "host": Annotated[
        str,
        typer.Option(help="URL of the API.", envvar="KF_PIPELINES_ENDPOINT", show_default=False),
    ],
    "namespace": Annotated[
        str, typer.Option(help="Your namespace.", envvar="KF_PIPELINES_NAMESPACE")
    ],
    "token_file": Annotated[
        Path | None,
        typer.Option(help="File with a bearer token.", envvar="KF_PIPELINES_TOKEN_FILE"),
    ],
    "cookie_file": Annotated[
        Path | None,
        typer.Option(help="File with a session's cookie.", envvar="KF_PIPELINES_COOKIE_FILE"),
    ],
    "ca_file": Annotated[
        Path | None,
        typer.Option(help="Certificates of the server's CA.", envvar="KF_PIPELINES_CA_FILE"),
    ],
}
_DEFAULTS: dict[str, Any] = {"host": inspect.Parameter.empty, "namespace": ""}

File = Annotated[Path, typer.Argument(help="Pipeline compiled by compile.py, YAML.")]
PipelineName = Annotated[str, typer.Option(help="Name of the pipeline; its own by default.")]
VersionName = Annotated[
    str, typer.Option(help="Name of a new version; a piece of its digest by default.")
]
Experiment = Annotated[
    str, typer.Option(help="Experiment of the runs.", envvar="KF_PIPELINES_DEFAULT_EXPERIMENT_NAME")
]
Given = Annotated[
    list[str],
    typer.Option(
        "-p", "--parameter", help="name=value, or name=@file for a text; repeatable.", metavar="N=V"
    ),
]
ParameterFile = Annotated[Path | None, typer.Option(help="YAML with name: value; -p is stronger.")]
PipelineRoot = Annotated[str, typer.Option(help="Where artifacts go; the server's by default.")]
ServiceAccount = Annotated[str, typer.Option(help="Of the pods; the server's by default.")]


def with_access(
    command: Callable[P, Callable[[Kubeflow], None]],
) -> Callable[P, None]:
    """Make a command of a function that checks its arguments and returns the work to do.

    The command takes the options of `Access` besides. The server is asked for after the checks,
    so that a mistake is told before anything is sent.

    Args:
        command: Takes the command's own arguments; returns what to do with a connection.
    """
    signature = inspect.signature(command)
    names = list(_ACCESS)
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_DEFAULTS.get(name),
            annotation=annotation,
        )
        for name, annotation in _ACCESS.items()
    ]

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        access = Access(**{name: options.pop(name) for name in names})  # type: ignore[arg-type]
        work = command(*arguments, **options)
        work(connect(access))

    own = list(signature.parameters.values())
    run.__signature__ = signature.replace(parameters=[*own, *added], return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
    return run
