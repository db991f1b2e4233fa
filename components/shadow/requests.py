"""What is replayed: logged requests, or those held-out users would have sent."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import InputError
from components.object_store import open_file
from components.requests import sample_requests
from components.shadow.settings import ShadowSettings


def read_requests(events_dir: Path, settings: ShadowSettings) -> list[Mapping[str, Any]]:
    """Return the requests to replay.

    Args:
        events_dir: Events with train, eval and test; read when no log is named.
        settings: How many, from where, by which seed.

    Raises:
        InputError: If the log is missing, empty, or has a line that is no v1 request.
    """
    if not settings.requests_uri:
        return list(sample_requests(events_dir, count=settings.requests, seed=settings.seed))
    store, name = open_file(settings.requests_uri)
    try:
        lines = store.read(name).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(settings.requests_uri, str(error), "JSON lines, UTF-8") from error
    bodies = [
        _body(line, f"{settings.requests_uri}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not bodies:
        raise InputError(settings.requests_uri, "no requests", "a v1 request body per line")
    if len(bodies) <= settings.requests:
        return bodies
    return random.Random(settings.seed).sample(bodies, settings.requests)


def _body(line: str, where: str) -> Mapping[str, Any]:
    try:
        body = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(where, str(error), "a JSON object") from error
    if not isinstance(body, dict) or not isinstance(body.get("instances"), list):
        raise InputError(where, line[:80], 'a v1 request, {"instances": […]}')
    return body
