"""Beam's options as a step's parameter: checked before anything starts."""

import contextlib
import io
from collections.abc import Iterator, Sequence

import grpc  # type: ignore[import-untyped]  # ships no types
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.runner import create_runner

from components.errors import InputError

# Beam's own default first tries to download another runner's binary from the internet, and comes
# back to this one when it cannot.
_IN_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_ON_THIS_MACHINE = {"fnapirunner", "directrunner", "bundlebaseddirectrunner"}
_SHARED = ("gs://", "/")  # what our object store, Beam and TensorFlow can all read
_REACHED_S = 20.0  # how long a job endpoint may take to answer what it is asked first


def pipeline_options(options: Sequence[str]) -> PipelineOptions:
    """Return Beam's options; without a runner among them, everything runs in this process.

    Args:
        options: As on a command line, each "--name=value" or "--name".

    Raises:
        InputError: If Beam does not know an option, and the job server at --job_endpoint, asked
            then, does not either; if a value has the wrong type, or a runner lacks what it needs;
            if workers are elsewhere, and no place is named that they and this process see.
    """
    for option in options:
        if not option.startswith("--"):
            raise InputError("beam_options", repr(option), "an option, --name=value or --name")
    with _one_line():
        parsed = PipelineOptions(list(options))
        known = parsed.get_all_options()
    unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    endpoint = parsed.view_as(PortableOptions).job_endpoint
    _refuse_unknown(sorted(unknown - _job_server_options(endpoint)), endpoint)
    standard = parsed.view_as(StandardOptions)
    standard.runner = standard.runner or _IN_PROCESS
    with _one_line():
        runner = create_runner(standard.runner)
    _refuse_unseen(parsed)  # before the validator, which would make a bucket of its own
    if problems := PipelineOptionsValidator(parsed, runner).validate():
        raise InputError("beam_options", "; ".join(problems), f"what {standard.runner} needs")
    return parsed


def has_workers_elsewhere(options: PipelineOptions) -> bool:
    """Return whether workers may be other processes or machines than this one."""
    runner = options.view_as(StandardOptions).runner
    return runner.rpartition(".")[2].lower() not in _ON_THIS_MACHINE


def _refuse_unseen(options: PipelineOptions) -> None:
    """Refuse a temp_location that workers elsewhere, or our own code, cannot read."""
    location = options.view_as(GoogleCloudOptions).temp_location or ""
    dataflow = "dataflow" in options.view_as(StandardOptions).runner.lower()
    if has_workers_elsewhere(options) and not location.startswith("gs://" if dataflow else _SHARED):
        volume = "" if dataflow else ", or the absolute path of a volume that every worker mounts"
        raise InputError("beam_options, --temp_location", repr(location), f"a gs:// prefix{volume}")


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn what Beam's parsers say, of which one ends the process, into an `InputError`."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as error:
        reason = said.getvalue().strip().splitlines()[-1].rpartition("error: ")[2]
        raise InputError("beam_options", reason, "a value that Beam takes") from error
    except (ValueError, ImportError) as error:
        reason = str(error).partition(". ")[0]
        raise InputError("beam_options", reason, "a runner of Beam, such as FlinkRunner") from error


def _job_server_options(endpoint: str | None) -> set[str]:
    """Return the names that a job server knows: its engine's own, such as parallelism.

    Beam itself waits five minutes for one that is not there.
    """
    if not endpoint or endpoint == "embed":
        return set()
    with grpc.insecure_channel(endpoint) as channel:
        try:
            answer = beam_job_api_pb2_grpc.JobServiceStub(channel).DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_REACHED_S
            )
        except grpc.RpcError as error:
            where = f"beam_options, --job_endpoint={endpoint}"
            raise InputError(where, error.code().name, "a Beam job server that answers") from error
    return {option.name for option in answer.options}


def _refuse_unknown(names: list[str], endpoint: str | None) -> None:
    if names:
        knows = f" or the job server at {endpoint}" if endpoint else ""
        found = ", ".join(f"--{name}" for name in names)
        raise InputError("beam_options", found, f"only options that Beam{knows} knows")
