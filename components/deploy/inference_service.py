"""The InferenceService of a package."""

from collections.abc import Mapping
from typing import Any

from components.deploy.settings import DeploySettings

_PORT = 8080
_MODEL_DIR = "/mnt/models"  # where KServe's storage initializer puts the package


def build_inference_service(
    *, service: str, namespace: str, package_uri: str, settings: DeploySettings
) -> dict[str, Any]:
    """Return the serving.kserve.io/v1beta1 resource for a package, without a traffic split."""
    predictor: dict[str, Any] = {"timeout": settings.request_timeout_s}
    if settings.server_command:
        predictor["containers"] = [_own_server(package_uri, settings)]
    elif settings.image:
        predictor["containers"] = [_predictor_image(service, package_uri, settings)]
    else:
        predictor["model"] = _model(package_uri, settings)
    predictor |= _scaling(settings) | _pod(settings)
    spec = {"predictor": predictor}
    if settings.transformer_image:
        spec["transformer"] = _transformer(settings)
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": service, "namespace": namespace},
        "spec": spec,
    }


def _own_server(package_uri: str, settings: DeploySettings) -> dict[str, Any]:
    container = _container(settings)
    package = {"name": "STORAGE_URI", "value": package_uri}
    return container | {
        "name": "kserve-container",
        "command": list(settings.server_command),
        "env": [package, *container.get("env", ())],
    }


def _predictor_image(service: str, package_uri: str, settings: DeploySettings) -> dict[str, Any]:
    container = _container(settings)
    options = {"model_name": service, "model_dir": _MODEL_DIR, "http_port": _PORT}
    options["tf_threads"] = settings.tf_threads
    return container | {
        "name": "kserve-container",
        "image": settings.image,
        "args": [f"--{name}={value}" for name, value in options.items()],
        # KServe fetches the package of a custom server when it finds this variable.
        "env": [{"name": "STORAGE_URI", "value": package_uri}, *container.get("env", ())],
        "ports": [{"containerPort": _PORT, "protocol": "TCP"}],
        "readinessProbe": _probe("/v2/health/ready"),
        # The server listens once the model is loaded; until then nothing may be held against it.
        "livenessProbe": _probe("/v2/health/live")
        | {"initialDelaySeconds": int(settings.ready_timeout_s)},
    }


def _transformer(settings: DeploySettings) -> dict[str, Any]:
    """Return the transformer's part; KServe adds the model's name and the predictor's host."""
    container: dict[str, Any] = {
        "name": "kserve-container",
        "image": settings.transformer_image,
        "args": list(settings.transformer_args),
        "env": _from_secrets(settings.transformer_secret_env),
        "ports": [{"containerPort": _PORT, "protocol": "TCP"}],
        "readinessProbe": _probe("/v2/health/ready"),
        # It is live before its tables are loaded.
        "livenessProbe": _probe("/v2/health/live") | {"initialDelaySeconds": 60},
    }
    return {"minReplicas": 1, "containers": [container]}


def _probe(path: str) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": _PORT},
        "periodSeconds": 5,
        "timeoutSeconds": 2,
        "failureThreshold": 3,
    }


def _model(package_uri: str, settings: DeploySettings) -> dict[str, Any]:
    model: dict[str, Any] = {
        "modelFormat": {"name": settings.model_format},
        "storageUri": package_uri,
    }
    if settings.model_format == "shopflow":
        model["args"] = ["--tf_threads", str(settings.tf_threads)]
    else:
        threads = settings.tf_threads
        model["args"] = [
            f"--tensorflow_intra_op_parallelism={threads}",
            f"--tensorflow_inter_op_parallelism={threads}",
        ]
    if settings.runtime:
        model["runtime"] = settings.runtime
    return model | _container(settings)


def _container(settings: DeploySettings) -> dict[str, Any]:
    wanted = {"cpu": settings.cpu, "memory": settings.memory}
    quantities = {name: quantity for name, quantity in wanted.items() if quantity}
    if settings.gpus:
        quantities[settings.accelerator] = str(settings.gpus)
    container: dict[str, Any] = {}
    if quantities:
        # What is asked for is what may be used: a server that is throttled or killed under load
        # would look like a bad model.
        container["resources"] = {"requests": quantities, "limits": dict(quantities)}
    env: list[dict[str, Any]] = [{"name": k, "value": v} for k, v in settings.env.items()]
    env += _from_secrets(settings.secret_env)
    return container | ({"env": env} if env else {})


def _from_secrets(references: Mapping[str, str]) -> list[dict[str, Any]]:
    env = []
    for name, reference in references.items():
        secret, _, key = reference.partition("/")
        source = {"secretKeyRef": {"name": secret, "key": key}}
        env.append({"name": name, "valueFrom": source})
    return env


def _scaling(settings: DeploySettings) -> dict[str, Any]:
    given = {
        "minReplicas": settings.min_replicas,
        "maxReplicas": settings.max_replicas,
        "scaleMetric": settings.scale_metric or None,
        "scaleTarget": settings.scale_target,
        "containerConcurrency": settings.concurrency,
    }
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if settings.autoscaler == "keda":
        metric = {
            "backend": "prometheus",
            "serverAddress": settings.keda_server,
            "query": settings.keda_query,
        }
        target = {"type": "Value", "value": settings.keda_threshold}
        source = {"type": "External", "external": {"metric": metric, "target": target}}
        found["autoScaling"] = {"metrics": [source]}
    return found


def _pod(settings: DeploySettings) -> dict[str, Any]:
    """Return the pod's part. Annotations are the predictor's, so that they end with a revision."""
    pod: dict[str, Any] = {}
    annotations: dict[str, str] = {}
    if settings.autoscaler in ("hpa", "keda"):
        annotations["serving.kserve.io/autoscalerClass"] = settings.autoscaler
    if settings.scraped:
        annotations["serving.kserve.io/enable-prometheus-scraping"] = "true"
    if annotations:
        pod["annotations"] = annotations
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    if settings.logger_url:
        pod["logger"] = {"url": settings.logger_url, "mode": settings.logger_mode}
    return pod
