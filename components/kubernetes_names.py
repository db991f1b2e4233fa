"""What Kubernetes takes for a name, so that a wrong one is refused before the cluster sees it."""

import re

DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
