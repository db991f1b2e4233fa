"""How a package is served: one frozen class, checked before any platform is asked."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from components.errors import InputError
from components.kubernetes_names import DNS_NAME

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_REF = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[-._a-zA-Z0-9]+")
_IMAGE = re.compile(
    r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})"
)
_URL = re.compile(r"https?://[^\s/]+\S*")
_LOOKS_SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY)$", re.IGNORECASE)
# What each autoscaler can look at (KServe: validateScaling*CompExtension).
_METRICS = {"kpa": ("concurrency", "rps"), "hpa": ("cpu", "memory")}


@dataclass(frozen=True)
class DeploySettings:
    """How a package is served. Empty or None leaves a choice to KServe or the runtime.

    Attributes:
        ready_timeout_s: How long a new revision may take to become ready.
        request_timeout_s: How long one request may take.
        smoke_timeout_s: How long all golden requests together may take.
        latency_budget_ms: Limit of the golden requests' median latency.
        infrastructure_check: Whether the candidate is tried as a temporary InferenceService of its
            own before the service is touched; that needs room for one more server meanwhile.
        wait_for_rollout_s: How long to wait for another rollout of the service to end; 0 refuses
            at once. KServe only: on one machine the other's canary is replaced.
        tf_threads: Threads TensorFlow computes on in each server.
        server_command: Program and arguments of a server to run in place of Shopflow's
            predictor; it finds the package in MODEL_DIR and its port in PORT.
        image: Image of the predictor, by immutable tag or digest; without one a ServingRuntime
            brings it.
        model_format: "shopflow" for our predictor, "tensorflow" for TensorFlow Serving.
        runtime: Name of the ServingRuntime; KServe picks one by the format otherwise.
        cpu: CPUs a server asks for and may use, in Kubernetes' notation.
        memory: Memory, likewise.
        gpus: GPUs of a server.
        accelerator: Resource name of a GPU.
        min_replicas: Servers that always run; 0 lets Knative scale to nothing.
        max_replicas: Servers that may run.
        autoscaler: "kpa" (Knative), "hpa" or "keda" (Standard).
        scale_metric: What kpa (concurrency, rps) or hpa (cpu, memory) looks at.
        scale_target: Its target: requests, requests per second, or percent of what was asked for.
        keda_query: PromQL that keda looks at.
        keda_server: Base URL of that Prometheus.
        keda_threshold: Value of the query per server.
        concurrency: Requests a server works on at the same time (Knative).
        service_account: Service account of the pods, through which they read the model.
        pull_secrets: Names of Secrets for pulling the image.
        env: Environment of the server; nothing secret.
        secret_env: Environment from Secrets: variable → "secret/key".
        logger_url: Where KServe sends copies of requests and answers.
        logger_mode: Which of the two.
        scraped: Whether Prometheus shall scrape the pods.
        transformer_image: Image of the transformer, by immutable tag or digest; without one there
            is none. It is the service's, and changes for all revisions at once.
        transformer_args: Its options, see `python -m serving.transformer --help`.
        transformer_secret_env: Its environment from Secrets: variable → "secret/key".
    """

    ready_timeout_s: float = 300.0
    request_timeout_s: int = 60
    smoke_timeout_s: float = 60.0
    latency_budget_ms: float = 500.0
    infrastructure_check: bool = True
    wait_for_rollout_s: float = 0.0
    tf_threads: int = 1
    server_command: tuple[str, ...] = ()
    image: str = ""
    model_format: Literal["shopflow", "tensorflow"] = "shopflow"
    runtime: str = ""
    cpu: str = ""
    memory: str = ""
    gpus: int = 0
    accelerator: str = "nvidia.com/gpu"
    min_replicas: int | None = None
    max_replicas: int | None = None
    autoscaler: Literal["", "kpa", "hpa", "keda"] = ""
    scale_metric: Literal["", "concurrency", "rps", "cpu", "memory"] = ""
    scale_target: int | None = None
    keda_query: str = ""
    keda_server: str = ""
    keda_threshold: str = ""
    concurrency: int | None = None
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)
    logger_url: str = ""
    logger_mode: Literal["all", "request", "response"] = "all"
    scraped: bool = False
    transformer_image: str = ""
    transformer_args: tuple[str, ...] = ()
    transformer_secret_env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse settings nothing could be deployed with.

        Raises:
            InputError: Names the setting.
        """
        for name in (
            "ready_timeout_s",
            "request_timeout_s",
            "smoke_timeout_s",
            "latency_budget_ms",
            "tf_threads",
        ):
            _expect(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name, pattern, expected in (
            ("image", _IMAGE, "registry/name:tag or registry/name@sha256:…"),
            ("transformer_image", _IMAGE, "registry/name:tag or registry/name@sha256:…"),
            ("runtime", DNS_NAME, "the name of a ServingRuntime"),
            ("cpu", _QUANTITY, "a quantity such as 500m or 2"),
            ("memory", _QUANTITY, "a quantity such as 2Gi"),
            ("service_account", DNS_NAME, "the name of a service account"),
            ("keda_server", _URL, "an http(s) URL"),
            ("logger_url", _URL, "an http(s) URL"),
            ("keda_threshold", _QUANTITY, "a quantity"),
        ):
            value = getattr(self, name)
            _expect(not value or bool(pattern.fullmatch(value)), name, value, expected)
        for name in ("image", "transformer_image"):
            image = getattr(self, name)
            _expect(not image.endswith(":latest"), name, image, "a tag that does not move")
        for name in ("transformer_args", "transformer_secret_env"):
            alone = bool(getattr(self, name)) and not self.transformer_image
            _expect(not alone, name, "some without transformer_image", "both or none")
        _expect(self.gpus >= 0, "gpus", self.gpus, "at least 0")
        _expect(
            sum(map(bool, (self.server_command, self.image, self.runtime))) <= 1,
            "image",
            "more than one of image, runtime and server_command",
            "at most one",
        )
        _expect(
            self.wait_for_rollout_s >= 0, "wait_for_rollout_s", self.wait_for_rollout_s, "0 or more"
        )
        self._check_scaling()
        self._check_environment()

    def _check_scaling(self) -> None:
        low, high = self.min_replicas, self.max_replicas
        _expect(low is None or low >= 0, "min_replicas", low, "at least 0")
        _expect(
            high is None or high >= max(1, low or 0), "max_replicas", high, "at least min_replicas"
        )
        _expect(
            self.concurrency is None or self.concurrency >= 0,
            "concurrency",
            self.concurrency,
            "at least 0",
        )
        allowed = _METRICS.get(self.autoscaler, ())
        _expect(
            not self.scale_metric or self.scale_metric in allowed,
            "scale_metric",
            f"{self.scale_metric} with autoscaler {self.autoscaler or 'none'}",
            f"one of {', '.join(allowed) or 'nothing'}",
        )
        target = self.scale_target
        highest = 100 if self.autoscaler == "hpa" else None
        _expect(
            target is None
            or (bool(allowed) and target >= 1 and (highest is None or target <= highest)),
            "scale_target",
            target,
            "1 to 100 with hpa, at least 1 with kpa, nothing otherwise",
        )
        keda = [bool(text) for text in (self.keda_query, self.keda_server, self.keda_threshold)]
        _expect(
            all(keda) if self.autoscaler == "keda" else not any(keda),
            "keda_query",
            f"autoscaler {self.autoscaler or 'none'} with {sum(keda)} of the keda settings",
            "keda with all three: keda_query, keda_server, keda_threshold",
        )

    def _check_environment(self) -> None:
        for name in self.pull_secrets:
            _expect(bool(DNS_NAME.fullmatch(name)), "pull_secrets", name, "a Secret's name")
        references = [*self.secret_env.items(), *self.transformer_secret_env.items()]
        for name in (*self.env, *dict(references)):
            _expect(bool(_ENV_NAME.fullmatch(name)), "env", name, "a variable's name")
        for name in self.env:
            _expect(not _LOOKS_SECRET.search(name), "env", name, "secrets in secret_env")
        for name, reference in references:
            _expect(
                bool(_SECRET_REF.fullmatch(reference)),
                f"secret_env {name}",
                reference,
                "secret/key",
            )
        twice = sorted(self.env.keys() & self.secret_env.keys())
        _expect(not twice, "secret_env", f"{twice} in env too", "each variable once")


def parse_settings(text: str, **given: object) -> DeploySettings:
    """Return the settings of a JSON object; the empty text stands for none.

    Args:
        text: JSON object; its keys are the attributes of `DeploySettings`.
        given: Attributes that are set elsewhere, and so may not be in the object.

    Raises:
        InputError: Names the first key that is wrong.
    """
    from pydantic import TypeAdapter, ValidationError

    where = "serving"
    try:
        content = json.loads(text or "{}")
    except ValueError as error:
        raise InputError(where, f"{text[:100]!r} ({error})", "a JSON object") from error
    if not isinstance(content, dict):
        raise InputError(where, type(content).__name__, "a JSON object")
    known = {each.name for each in fields(DeploySettings)} - given.keys()
    if unknown := sorted(content.keys() - known):
        raise InputError(where, f"key {unknown[0]!r}", f"one of {', '.join(sorted(known))}")
    try:
        return TypeAdapter(DeploySettings).validate_python({**content, **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if isinstance(cause := first.get("ctx", {}).get("error"), InputError):
            raise InputError(f"{where}: {cause.where}", cause.found, cause.expected) from error
        raise InputError(f"{where}: {key}", repr(first["input"]), first["msg"]) from error


def _expect(fulfilled: bool, name: str, found: object, expected: str) -> None:
    if not fulfilled:
        raise InputError(name, str(found), expected)
