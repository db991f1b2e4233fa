"""The KFP interface of evaluate."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def evaluate(
    events: dsl.Input[dsl.Dataset],
    catalogue: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    blessing: dsl.Output[dsl.Artifact],
    evaluation_report: dsl.Output[dsl.HTML],
    service: str,
    platform: str,
    namespace: str = "default",
    thresholds: str = "",
    k: int = 10,
    max_examples: int = 20000,
    beam_options: list[str] = [],  # noqa: B006 - KFP reads the default and never changes it
    reference: dsl.Input[dsl.Model] = None,  # KFP's way to say optional
    max_reference_drop: float = 0.001,
) -> str:
    """Measure a candidate against the live model and baselines; decide whether it may go on.

    Args:
        events: Events, split by time.
        catalogue: Catalogue.
        model: The candidate.
        evaluation: TFMA's output and metrics.json.
        blessing: The gate's decision, with every threshold's value and verdict.
        evaluation_report: The page for people.
        service: InferenceService whose stable model is the live one.
        platform: Where it runs, as in serving.platform.connect.
        namespace: Its namespace.
        thresholds: What the gate asks for, a JSON list; empty = the defaults.
        k: Cut-off of HR@k and NDCG@k.
        max_examples: Held-out examples to sample at most.
        beam_options: Beam pipeline options of TFMA, see docs/beam.md; empty = in this process.
        reference: The model that the candidate was made of; none when it was trained.
        max_reference_drop: Most NDCG@k, of ratings also RMSE, it may lose to that, beyond chance.

    Returns:
        "true" when blessed, "false" when refused.
    """
    import tempfile
    from pathlib import Path

    from components.evaluate.evaluate import evaluate, evaluate_settings
    from components.live_model import fetch_live_model

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch)
        live = fetch_live_model(service, platform=platform, namespace=namespace, target=target)
        decision = evaluate(
            events_dir=Path(events.path),
            catalogue_dir=Path(catalogue.path),
            model_dir=Path(model.path),
            live_model_dir=live,
            evaluation_dir=Path(evaluation.path),
            blessing_path=Path(blessing.path),
            report_path=Path(evaluation_report.path),
            settings=evaluate_settings(
                thresholds=thresholds,
                k=k,
                max_examples=max_examples,
                max_drop=max_reference_drop,
                beam_options=beam_options,
            ),  # fmt: skip
            reference_model_dir=Path(reference.path) if reference else None,
        )
    return str(decision.blessed).lower()
