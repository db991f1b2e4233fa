"""Where on a cluster the steps run, for how long, and with which secrets: options of compile.py.

A value is refused here, in one line, so that no compiled file is refused by Kubernetes later.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from kfp import dsl, kubernetes

from components.errors import InputError
from components.kubernetes_names import DNS_NAME
from components.notify.notify import NOTIFY_URL
from serving.signature import PUBLIC_KEY, SIGNING_KEY

GCS_KEY_FOLDER = "/var/run/secrets/shopflow-gcs"
STEPS = (
    "ingest", "preprocess", "trials", "tune", "train", "evaluate", "compress", "package", "deploy",
    "shadow", "rollout", "notify",
)  # fmt: skip
_READ_PACKAGES = ("train", "evaluate", "deploy")
_LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_SIZE = re.compile(r"[1-9][0-9]*(Mi|Gi|Ti)")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclasses.dataclass(frozen=True)
class Toleration:
    """A taint that the pods may be scheduled on in spite of.

    Attributes:
        key: The taint's key.
        value: Its value; None tolerates any.
        effect: One of Kubernetes' effects; "" tolerates all.
    """

    key: str
    value: str | None
    effect: str


@dataclasses.dataclass(frozen=True)
class ClusterSettings:
    """What a cluster wants that a single machine does not.

    Attributes:
        node_selector: Labels of the nodes that any step may run on.
        train_node_selector: Further labels for the training step's.
        tolerations: Taints that any step tolerates.
        train_tolerations: Further taints that the training step does.
        gcs_key_secret: Secret with the file `key.json` of a Google service account; "" leaves the
            access to workload identity, which belongs to the run's service account.
        signing_key_secret: Secret with the private key `private.pem` that the package step signs
            models with; "" leaves them unsigned.
        public_key_secret: Secret with the keys `public.pem` by which every step that reads a
            published model verifies it: train (a warm start), evaluate (the live model), deploy.
        notify_url_secret: Secret with the webhook's address `url` that the notify step tells how a
            run ended; "" leaves it to the parameter notify_url.
        image_pull_secrets: Secrets of the registry.
        timeouts_s: Seconds that a step's pod may live, by step.
        run_timeout_s: Seconds that a run may take.
        ttl_s: Seconds that a finished run's Argo Workflow is kept.
        cache: Whether KFP may reuse outputs at all.
        workspace_size: Size of a volume of the run's own, where a training whose pod is lost finds
            its checkpoints again, in place of the parameter checkpoint_root; "" asks for none.
        workspace_class: Its storage class; "" is the cluster's default.
    """

    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    train_node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    train_tolerations: tuple[Toleration, ...] = ()
    gcs_key_secret: str = ""
    signing_key_secret: str = ""
    public_key_secret: str = ""
    notify_url_secret: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    timeouts_s: Mapping[str, int] = dataclasses.field(default_factory=dict)
    run_timeout_s: int | None = None
    ttl_s: int | None = None
    cache: bool = True
    workspace_size: str = ""
    workspace_class: str = ""

    def __post_init__(self) -> None:
        """Refuse what Kubernetes would.

        Raises:
            InputError: Names the option.
        """
        for option, name in (
            ("--gcs-key-secret", self.gcs_key_secret),
            ("--signing-key-secret", self.signing_key_secret),
            ("--public-key-secret", self.public_key_secret),
            ("--notify-url-secret", self.notify_url_secret),
        ):
            if name:
                _check(DNS_NAME, name, option, "a Secret's name")
        for name in self.image_pull_secrets:
            _check(DNS_NAME, name, "--image-pull-secret", "a Secret's name")
        if self.workspace_size:
            _check(_SIZE, self.workspace_size, "--workspace-size", "a size such as 20Gi")
        if self.workspace_class:
            _check(DNS_NAME, self.workspace_class, "--workspace-class", "a storage class's name")
            if not self.workspace_size:
                raise InputError("--workspace-class", "no --workspace-size", "one")
        for option, seconds in (("--run-timeout", self.run_timeout_s), ("--ttl", self.ttl_s)):
            if seconds is not None and seconds <= 0:
                raise InputError(option, f"{seconds} s", "a number > 0")

    def apply(self, task: dsl.PipelineTask, *, trains: bool) -> None:
        """Put what concerns one step's pod on its task."""
        selector = dict(self.node_selector) | (dict(self.train_node_selector) if trains else {})
        for key, value in selector.items():
            kubernetes.add_node_selector(task, key, value)
        for toleration in self.tolerations + (self.train_tolerations if trains else ()):
            kubernetes.add_toleration(
                task,
                key=toleration.key,
                operator="Exists" if toleration.value is None else "Equal",
                value=toleration.value,
                effect=toleration.effect or None,
            )
        if self.gcs_key_secret:
            kubernetes.use_secret_as_volume(task, self.gcs_key_secret, GCS_KEY_FOLDER)
            task.set_env_variable("GOOGLE_APPLICATION_CREDENTIALS", f"{GCS_KEY_FOLDER}/key.json")
        if self.image_pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(self.image_pull_secrets))
        step = re.sub(r"-\d+$", "", task.name)  # one that comes again is called train-2, train-3
        for steps, secret, key, variable in (
            (("package",), self.signing_key_secret, "private.pem", SIGNING_KEY),
            (_READ_PACKAGES, self.public_key_secret, "public.pem", PUBLIC_KEY),
            (("notify",), self.notify_url_secret, "url", NOTIFY_URL),
        ):
            if step in steps and secret:
                kubernetes.use_secret_as_env(task, secret, {key: variable})
        if seconds := self.timeouts_s.get(step):
            kubernetes.set_timeout(task, seconds)

    def checkpoint_root(self) -> str:
        """Return the folder of checkpoints on the run's own volume, "" without one."""
        return f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/checkpoints" if self.workspace_size else ""

    def pipeline_config(self) -> dsl.PipelineConfig:
        """Return what concerns the run as a whole."""
        workspace = None
        if self.workspace_size:
            patch = {"storageClassName": self.workspace_class} if self.workspace_class else {}
            workspace = dsl.WorkspaceConfig(
                size=self.workspace_size,
                kubernetes=dsl.KubernetesWorkspaceConfig(
                    pvcSpecPatch={"accessModes": ["ReadWriteOnce"], **patch}
                ),
            )
        return dsl.PipelineConfig(
            workspace=workspace,
            ttl_seconds_after_finished=self.ttl_s,
            active_deadline_seconds=self.run_timeout_s,
        )


def read_labels(option: str, words: Sequence[str]) -> dict[str, str]:
    """Read `key=value` words.

    Raises:
        InputError: If one is not, or is no label that Kubernetes accepts.
    """
    labels = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not (sign and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
            raise InputError(option, repr(word), "a label as key=value")
        labels[key] = value
    return labels


def read_tolerations(option: str, words: Sequence[str]) -> tuple[Toleration, ...]:
    """Read `key[=value][:effect]` words, as `kubectl taint` writes them.

    Raises:
        InputError: If one is malformed or its effect unknown.
    """
    tolerations = []
    for word in words:
        taint, colon, effect = word.partition(":")
        key, sign, value = taint.partition("=")
        wrong_effect = colon and effect not in _EFFECTS
        if wrong_effect or not (_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
            raise InputError(
                option, repr(word), f"key[=value][:effect], the effect {', '.join(_EFFECTS)}"
            )
        tolerations.append(Toleration(key, value if sign else None, effect))
    return tuple(tolerations)


def read_timeouts(option: str, words: Sequence[str]) -> dict[str, int]:
    """Read `step=seconds` words.

    Raises:
        InputError: If a step is unknown or its seconds are no number above 0.
    """
    timeouts = {}
    for word in words:
        step, _, seconds = word.partition("=")
        if step not in STEPS or not seconds.isdecimal() or int(seconds) == 0:
            raise InputError(option, repr(word), f"step=seconds, a step of {', '.join(STEPS)}")
        timeouts[step] = int(seconds)
    return timeouts


def _check(pattern: re.Pattern[str], value: str, option: str, expected: str) -> None:
    if not pattern.fullmatch(value):
        raise InputError(option, repr(value), expected)
