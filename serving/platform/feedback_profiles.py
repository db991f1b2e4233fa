"""Where the shop's feedback is counted: two selectors of Prometheus' series, as data."""

import json
import re
from dataclasses import dataclass

from serving.platform.interface import PlatformError

# A name, or none, and matchers: what a range can be put behind.
_SELECTOR = re.compile(r"[a-zA-Z_:][\w:]*\s*\{.*\}|\{.*\}", re.DOTALL)


@dataclass(frozen=True)
class FeedbackProfile:
    """Two counters of a revision's answers: those whose end is known, and the successes of them.

    In the templates {namespace}, {service} and {revision} stand for the names. The series a
    template selects are added up, so an answer may be counted by any process. An impression must
    be counted together with its click, or once it is clear that there is none: with impressions
    counted at once and clicks later, a canary whose share has just risen seems to be clicked less.

    Attributes:
        name: What a setting calls it.
        impressions: PromQL selector of the answers whose end is known.
        clicks: PromQL selector of those that did what they were for.
    """

    name: str
    impressions: str
    clicks: str

    def __post_init__(self) -> None:
        """Refuse templates that could not tell revisions apart, or that are no series.

        Raises:
            PlatformError: Names the template.
        """
        for what in ("impressions", "clicks"):
            template = getattr(self, what)
            if not _SELECTOR.fullmatch(template) or "{revision}" not in template:
                raise PlatformError(
                    f"{what}: found {template!r}, expected a counter as "
                    'name{label="{revision}",…}; {namespace} and {service} may be in it, too'
                )

    def selectors(self, service: str, *, namespace: str, revision: str) -> dict[str, str]:
        """Return the selectors of one revision, clicks first: none without its impression."""
        names = {"{namespace}": namespace, "{service}": service, "{revision}": revision}
        found = {"clicks": self.clicks, "impressions": self.impressions}
        for what in found:
            for placeholder, name in names.items():
                # Inside a PromQL string; a name stays a value whatever is in it.
                value = json.dumps(name, ensure_ascii=False)[1:-1]
                found[what] = found[what].replace(placeholder, value)
        return found


_OURS = '{namespace="{namespace}",model_name="{service}",recommended_by="{revision}"}'
# serving/protocol/feedback.py; the namespace is a label of the scrape target.
SHOPFLOW = FeedbackProfile(
    name="shopflow",
    impressions=f"shopflow_feedback_impressions_total{_OURS}",
    clicks=f"shopflow_feedback_clicks_total{_OURS}",
)

PROFILES = {profile.name: profile for profile in (SHOPFLOW,)}


def find_feedback(name: str, *, impressions: str = "", clicks: str = "") -> FeedbackProfile:
    """Return the profile of that name, or the one of two templates.

    Args:
        name: Name of a profile.
        impressions: Template in place of the profile's, see `FeedbackProfile`.
        clicks: Likewise.

    Raises:
        PlatformError: If there is no such profile, or one template only.
    """
    if impressions or clicks:
        if not (impressions and clicks):
            missing = "clicks" if impressions else "impressions"
            raise PlatformError(f"feedback: found no {missing}=…, expected both templates or none")
        return FeedbackProfile("templates", impressions, clicks)
    if name not in PROFILES:
        raise PlatformError(f"feedback: found {name!r}, expected one of {sorted(PROFILES)}")
    return PROFILES[name]
