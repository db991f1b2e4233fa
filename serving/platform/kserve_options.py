"""What stands after "kserve:" in a platform's name."""

import re
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from serving.platform.interface import PlatformError

# Commas part the options, except within a PromQL selector's braces and strings.
_OPTION = re.compile(r'(?:[^,{]|\{(?:[^}"]|"(?:\\.|[^"\\])*")*\})+')


@dataclass(frozen=True)
class KServeOptions:
    """How to reach a cluster and its metrics.

    Attributes:
        prometheus: Base URL of the Prometheus that scrapes the services; without, a rollout has
            no data and holds.
        profile: Whose metrics it has, see `serving.platform.metric_profiles`.
        feedback: Where it has the shop's feedback, see `serving.platform.feedback_profiles`.
        impressions: PromQL template in place of the profile's, with `clicks`.
        clicks: Likewise.
        token_file: File with a bearer token for Prometheus.
        token_env: Environment variable with that token, in place of a file.
        ca_file: Certificates to trust for Prometheus in place of the public ones.
        context: Context of the kubeconfig; empty for the pod's service account, or else the
            current context.
        gateway: Base URL requests go through when the services' addresses cannot be reached from
            here; the address goes in the Host header.
        controller: Namespace of KServe itself.
    """

    prometheus: str = ""
    profile: str = "shopflow"
    feedback: str = "shopflow"
    impressions: str = ""
    clicks: str = ""
    token_file: str = ""
    token_env: str = ""
    ca_file: str = ""
    context: str = ""
    gateway: str = ""
    controller: str = "kserve"


def parse_options(text: str) -> KServeOptions:
    """Return the options of "key=value,key=value".

    Raises:
        PlatformError: If a key is unknown or given twice, or a URL is none.
    """
    known = [field.name for field in fields(KServeOptions)]
    found: dict[str, str] = {}
    if _OPTION.sub("", text).strip(","):
        raise PlatformError(f"platform: found {text!r}, expected braces and quotes to be closed")
    for part in _OPTION.findall(text):
        key, separator, value = part.partition("=")
        if key not in known or not separator or not value or key in found:
            raise PlatformError(
                f"platform: found {part!r}, expected {', '.join(f'{name}=…' for name in known)}, "
                "each once"
            )
        found[key] = value
    for key in ("prometheus", "gateway"):
        parts = urlsplit(found.get(key, "http://none"))
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise PlatformError(f"platform: found {key}={found[key]}, expected an http(s) URL")
    return KServeOptions(**found)
