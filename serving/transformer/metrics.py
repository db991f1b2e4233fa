"""What the transformer counts besides requests and their latency."""

from prometheus_client import Counter

_LABELS = ("model_name",)


class TransformerMetrics:
    """The counters of one transformer."""

    def __init__(self, model: str) -> None:
        """Register the counters.

        Args:
            model: The model's name, a label of all of them.
        """
        self._model = model
        self._cache = Counter(
            "shopflow_transformer_cache",
            "Rows by what the cache said: hit, miss, bypass (the predictor does not name its"
            " model); error counts failed exchanges with it",
            (*_LABELS, "result"),
        )
        self._filtered = Counter(
            "shopflow_transformer_filtered_items",
            "Candidates removed, by reason",
            (*_LABELS, "reason"),
        )
        self._short = Counter(
            "shopflow_transformer_short_answers", "Rows with fewer items than asked for", _LABELS
        )
        self._lookups = Counter(
            "shopflow_transformer_lookup_errors",
            "Look-ups that failed, and reloads of files",
            (*_LABELS, "of"),
        )
        self._predictor = Counter(
            "shopflow_transformer_predictor_errors",
            "Answers of the predictor other than 200, by the status code passed on",
            (*_LABELS, "code"),
        )
        # A rate needs a zero to start from; a counter without one misses its first event.
        for result in ("hit", "miss", "bypass", "error"):
            self._cache.labels(model, result)
        for of in ("history", "items"):
            self._lookups.labels(model, of)
        self._short.labels(model)

    def cached(self, result: str, count: int) -> None:
        """Count what the cache said of `count` rows."""
        self._cache.labels(self._model, result).inc(count)

    def filtered(self, reason: str, count: int) -> None:
        """Count removed candidates."""
        self._filtered.labels(self._model, reason).inc(count)

    def short(self) -> None:
        """Count a row with fewer items than asked for."""
        self._short.labels(self._model).inc()

    def lookup_failed(self, of: str) -> None:
        """Count a failed look-up, or reload, of "history" or "items"."""
        self._lookups.labels(self._model, of).inc()

    def predictor_failed(self, code: int) -> None:
        """Count an answer of the predictor that was no answer."""
        self._predictor.labels(self._model, str(code)).inc()
