"""Which Beam runner a step uses when nobody names one."""

from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

# Beam's own default first tries to download another runner's binary from the internet, and comes
# back to this one when it cannot.
_IN_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def pipeline_options(options: Sequence[str]) -> PipelineOptions:
    """Return Beam's options; without a runner among them, everything runs in this process.

    Args:
        options: As on a command line, for example `["--runner=FlinkRunner"]`.
    """
    parsed = PipelineOptions(list(options))
    standard = parsed.view_as(StandardOptions)
    standard.runner = standard.runner or _IN_PROCESS
    return parsed
