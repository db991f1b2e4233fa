"""The recommender pipeline: raw behaviour log → model promoted by evidence."""

from kfp import dsl

from components.evaluate.component import evaluate
from components.ingest.component import ingest
from components.preprocess.component import preprocess
from components.train.component import train
from pipelines.check import check
from pipelines.configs import config_parameter
from pipelines.exit_handler import reported
from pipelines.refusal import refuse
from pipelines.release import release_pipeline
from pipelines.step_settings import PipelineSettings, configure
from pipelines.tuning import keep, search_pipeline

NAME = "shopflow-recommender"
ATTEMPTS = 3


def recommender(settings: PipelineSettings) -> dsl.base_component.BaseComponent:
    """Build the recommender pipeline for one set of images and resources.

    Args:
        settings: Where the steps run: images, GPUs.

    Returns:
        The KFP pipeline, to compile or to call under `kfp.local`.
    """
    release = release_pipeline(settings)
    release_smaller = release_pipeline(settings, smaller=True)
    search = search_pipeline(settings)

    @dsl.pipeline(
        name=NAME,
        description="Behaviour log and catalogue to a served recommender, promoted by evidence",
        pipeline_config=settings.cluster.pipeline_config(),
    )
    @reported(settings, pipeline=NAME)
    def pipeline(
        events_uri: str,
        catalogue_uri: str,
        store_uri: str,
        dataset: str = config_parameter("user_behavior"),
        as_of: str = "",
        model_name: str = "two_tower",
        hyperparameters_1: str = "{}",
        hyperparameters_2: str = "",
        hyperparameters_3: str = "",
        tune_trials: int = 0,
        tune_parallel: int = 2,
        search_space: str = "",
        seed: int = 1,
        checkpoint_root: str = "",
        train_precision: str = "float32",
        explain: bool = False,
        warm_start: str = "",
        warm_start_mismatch: str = "anew",
        thresholds: str = "",
        beam_options: list[str] = [],  # noqa: B006 - KFP reads the default and never changes it
        compress: str = "none",
        compress_max_drop: float = 0.001,
        service: str = "recommender",
        platform: str = "kserve",
        namespace: str = "default",
        shadow_requests: int = 200,
        serving: str = "",
        rollout_steps: str = "5,25,50,100",
        rollout_min_requests: int = 500,
        rollout_poll_s: float = 10.0,
        rollout_business_metric: str = "",
        rollout_max_business_drop: float = 0.005,
        rollout_on_timeout: str = "roll_back",
        notify_url: str = "",
        notify_successes: bool = True,
        notify_link: str = "",
    ) -> None:
        """Train, judge and release a recommender.

        Args:
            events_uri: Behaviour log: a file, a folder, or several files with commas; local or gs://.
            catalogue_uri: Item catalogue, likewise.
            store_uri: Folder or gs:// prefix that models are published under.
            dataset: Data-set configuration (YAML text): which column is what, cleaning, split.
            as_of: ISO date; events on or after it are left out and counted. Empty: all events.
            model_name: Model to train: two_tower, matrix_factorization, linear_autoencoder, slist,
                sasrec, gru4rec or ranker; for explicit ratings rating_factorization, or ranker with
                {"task": "rating"}.
            hyperparameters_1: Hyper-parameters of the first attempt, a JSON object; {} = defaults.
            hyperparameters_2: Of the second attempt, made when the gate refused the first; empty =
                what the model itself has for it.
            hyperparameters_3: Likewise of the third, made when the gate refused the second.
            tune_trials: Trials of a search for the first attempt's hyper-parameters, which starts
                from hyperparameters_1; 0 leaves it out.
            tune_parallel: Tasks that share the trials.
            search_space: What is searched (JSON), see components/tune/README.md; empty = the
                model's own ranges.
            seed: Seed of everything random in training.
            checkpoint_root: Folder or gs:// prefix of checkpoints; a killed training resumes there.
            train_precision: What training computes in: float32; on GPUs with tensor cores maybe
                mixed_bfloat16 or mixed_float16.
            explain: Whether the model also answers what moved a recommendation; see
                components/train/README.md.
            warm_start: Model that training goes on from: live, the one in service, or the URI of a
                package. Empty: none.
            warm_start_mismatch: What an attempt does that it does not fit: anew, or refuse.
            thresholds: What the gate asks for (JSON); empty = the defaults in the documentation.
            beam_options: Where the work of preprocess and evaluate runs: options of Apache Beam
                (JSON list) such as ["--runner=DataflowRunner", "--temp_location=gs://…", …], see
                docs/beam.md. Empty: in the steps' own process.
            compress: none, float16 or int8: release a smaller model where it is as good.
            compress_max_drop: Most NDCG@10, and of a model of ratings RMSE, that it may lose
                against the trained one, beyond chance; else the trained one is released.
            service: Name of the InferenceService, and of the published model.
            platform: Where it is served: kserve (kserve:prometheus=http://… for a rollout by its
                metrics), or local:<folder> on one machine.
            namespace: Kubernetes namespace of the InferenceService.
            shadow_requests: Requests the canary answers unseen, beside the stable; 0 leaves it out.
            serving: Settings of the servers (JSON), see components/deploy/README.md.
            rollout_steps: Canary's traffic in percent, step by step.
            rollout_min_requests: Requests the canary must have answered before a step may advance.
            rollout_poll_s: Seconds between two looks at the metrics.
            rollout_business_metric: Name of what the shop's feedback counts, such as
                click-through; the canary is then tested by it, too. Empty: it is not.
            rollout_max_business_drop: How much smaller than the stable's its share may be.
            rollout_on_timeout: What becomes of a canary whose evidence does not come in time:
                roll_back, hold or fail.
            notify_url: Webhook that is told how the run ended. KFP shows and logs it: one that is a
                secret, such as Slack's, is given by compile.py --notify-url-secret instead.
            notify_successes: Whether it is told of runs that succeeded, too.
            notify_link: Address of a run in the UI, with {run_id} in it, for the notice.
        """
        checked = check(
            model_name=model_name,
            hyperparameters_1=hyperparameters_1,
            hyperparameters_2=hyperparameters_2,
            hyperparameters_3=hyperparameters_3,
            seed=seed,
            tune_trials=tune_trials,
            tune_parallel=tune_parallel,
            search_space=search_space,
            train_precision=train_precision,
            warm_start=warm_start,
            warm_start_mismatch=warm_start_mismatch,
            thresholds=thresholds,
            compress=compress,
            compress_max_drop=compress_max_drop,
            service=service,
            platform=platform,
            namespace=namespace,
            shadow_requests=shadow_requests,
            serving=serving,
            rollout_steps=rollout_steps,
            rollout_min_requests=rollout_min_requests,
            rollout_poll_s=rollout_poll_s,
            rollout_business_metric=rollout_business_metric,
            rollout_max_business_drop=rollout_max_business_drop,
            rollout_on_timeout=rollout_on_timeout,
        )
        # Never cached: which model is in service changes.
        configure(checked, settings, cpu="1", memory="2G", retries=2)
        cleaned = ingest(
            dataset=dataset, events_uri=events_uri, catalogue_uri=catalogue_uri, as_of=as_of
        )
        # Never cached: a URI names a log that grows, and KFP's cache sees only the name.
        configure(cleaned, settings, cpu="2", memory="8G", retries=2)
        analysed = preprocess(
            events=cleaned.outputs["events"],
            schema=cleaned.outputs["schema"],
            beam_options=beam_options,
        )
        configure(analysed, settings, cpu="2", memory="8G", retries=2, cache=True)

        with dsl.If(tune_trials > 0, name="tune"):
            searched = search(
                events=cleaned.outputs["events"],
                catalogue=cleaned.outputs["catalogue"],
                schema=cleaned.outputs["schema"],
                transform_graph=analysed.outputs["transform_graph"],
                model_name=model_name,
                hyperparameters=hyperparameters_1,
                search_space=search_space,
                trials=tune_trials,
                parallel=tune_parallel,
                seed=seed,
                store_uri=store_uri,
                checkpoint_root=checkpoint_root,
                precision=train_precision,
            ).set_caching_options(False)
        with dsl.Else(name="no-search"):
            kept = keep(hyperparameters=hyperparameters_1)
            configure(kept, settings, cpu="100m", memory="512M", retries=1)
        tuned = dsl.OneOf(searched.output, kept.output)

        def attempt(number: int) -> None:
            trained = train(
                events=cleaned.outputs["events"],
                catalogue=cleaned.outputs["catalogue"],
                schema=cleaned.outputs["schema"],
                transform_graph=analysed.outputs["transform_graph"],
                model_name=model_name,
                hyperparameters=(tuned, hyperparameters_2, hyperparameters_3)[number - 1],
                attempt=number,
                seed=seed,
                checkpoint_root=settings.cluster.checkpoint_root() or checkpoint_root,
                explain=explain,
                precision=train_precision,
                warm_start=checked.output,
                warm_start_mismatch=warm_start_mismatch,
            ).set_display_name(f"train, attempt {number}")
            configure(
                trained, settings, cpu="4", memory="16G", retries=2, cache=True, accelerated=True
            )
            judged = evaluate(
                events=cleaned.outputs["events"],
                catalogue=cleaned.outputs["catalogue"],
                model=trained.outputs["model"],
                service=service,
                platform=platform,
                namespace=namespace,
                thresholds=thresholds,
                beam_options=beam_options,
            ).set_display_name(f"evaluate, attempt {number}")
            # Never cached: the verdict depends on the model in service at the time.
            configure(judged, settings, cpu="2", memory="8G", retries=2)
            onward = {
                "model": trained.outputs["model"],
                "blessing": judged.outputs["blessing"],
                "evaluation": judged.outputs["evaluation"],
                "schema": cleaned.outputs["schema"],
                "events": cleaned.outputs["events"],
                "catalogue": cleaned.outputs["catalogue"],
                "thresholds": thresholds,
                "beam_options": beam_options,
                "compress": compress,
                "compress_max_drop": compress_max_drop,
                "run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                "store_uri": store_uri,
                "service": service,
                "platform": platform,
                "namespace": namespace,
                "shadow_requests": shadow_requests,
                "serving": serving,
                "rollout_steps": rollout_steps,
                "rollout_min_requests": rollout_min_requests,
                "rollout_poll_s": rollout_poll_s,
                "rollout_business_metric": rollout_business_metric,
                "rollout_max_business_drop": rollout_max_business_drop,
                "rollout_on_timeout": rollout_on_timeout,
            }
            with dsl.If(judged.outputs["Output"] == "true", name=f"blessed-{number}"):
                with dsl.If(compress == "none", name=f"as-trained-{number}"):
                    release(**onward).set_caching_options(False)
                with dsl.Else(name=f"smaller-{number}"):
                    release_smaller(**onward).set_caching_options(False)
            with dsl.Else(name=f"refused-{number}"):
                if number < ATTEMPTS:
                    attempt(number + 1)
                else:
                    verdict = refuse(blessing=judged.outputs["blessing"], attempts=ATTEMPTS)
                    configure(verdict, settings, cpu="100m", memory="512M")

        attempt(1)

    return pipeline
