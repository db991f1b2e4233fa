"""The KFP interface of package."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def package(
    model: dsl.Input[dsl.Model],
    blessing: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    schema: dsl.Input[dsl.Artifact],
    events: dsl.Input[dsl.Dataset],
    package: dsl.Output[dsl.Model],
    store_uri: str,
    name: str,
    run_id: str = "",
    smaller: dsl.Input[dsl.Model] = None,  # KFP's way to say optional
    smaller_blessing: dsl.Input[dsl.Artifact] = None,
    smaller_evaluation: dsl.Input[dsl.Artifact] = None,
) -> str:
    """Publish a blessed model as a new version; the same model is published once.

    Args:
        model: The SavedModel that was evaluated.
        blessing: The gate's blessing of exactly this model.
        evaluation: The evaluation, with metrics.json.
        schema: The data's schema.
        events: Events; golden requests are sampled from the test split.
        package: Name, version and URI of what was published.
        store_uri: Folder or gs:// prefix of all published models.
        name: Name of the model.
        run_id: The run that made it, for the manifest.
        smaller: A smaller model made of it, published in its place where the gate blessed it.
        smaller_blessing: The gate's decision about the smaller model.
        smaller_evaluation: The evaluation of the smaller model.

    Returns:
        URI of the published version.
    """
    import json
    from pathlib import Path

    from components.keys import given_key
    from components.package.package import is_blessed, publish
    from serving.signature import SIGNING_KEY

    if smaller and is_blessed(Path(smaller_blessing.path)):
        model, blessing, evaluation = smaller, smaller_blessing, smaller_evaluation
    published = publish(
        model_dir=Path(model.path),
        blessing_path=Path(blessing.path),
        schema_path=Path(schema.path),
        evaluation_dir=Path(evaluation.path),
        events_dir=Path(events.path),
        store_uri=store_uri,
        name=name,
        lineage={"run": run_id, "model": model.uri, "events": events.uri},
        signing_key=given_key(SIGNING_KEY),
    )
    package.metadata.update({"uri": published.uri, "version": published.version})
    Path(package.path).write_text(json.dumps(package.metadata), encoding="utf-8")
    return published.uri
