"""The shadow step's KFP interface."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def shadow(
    release: dsl.Input[dsl.Artifact],
    events: dsl.Input[dsl.Dataset],
    comparison: dsl.Output[dsl.Artifact],
    shadow_report: dsl.Output[dsl.HTML],
    requests: int = 200,
    requests_uri: str = "",
    max_error_rate: float = 0.01,
    max_median_ratio: float = 2.0,
    min_overlap: float = 0.0,
) -> None:
    """Let a candidate at 0 % traffic answer requests beside the stable model, and compare.

    Args:
        release: The deploy step's release.
        events: Events, split by time; requests are sampled from the test window.
        comparison: Error rates, latencies and overlap, as JSON.
        shadow_report: The same for people.
        requests: Requests to replay at most; 0 leaves the step out.
        requests_uri: Logged requests to replay instead, a v1 body per line; local or gs://.
        max_error_rate: Share of the candidate's answers that may fail.
        max_median_ratio: How many times the stable's median latency the candidate's may be.
        min_overlap: Least mean overlap@k with the stable's lists; 0 only reports it.
    """
    from pathlib import Path

    from components.shadow.settings import ShadowSettings
    from components.shadow.shadow import shadow as run

    run(
        release_path=Path(release.path),
        events_dir=Path(events.path),
        settings=ShadowSettings(
            requests=requests,
            requests_uri=requests_uri,
            max_error_rate=max_error_rate,
            max_median_ratio=max_median_ratio,
            min_overlap=min_overlap,
        ),
        result_path=Path(comparison.path),
        report_path=Path(shadow_report.path),
    )
