"""The KServe model that stands before the predictor."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import kserve
import numpy as np

from serving.protocol.headers import USER_HEADER
from serving.protocol.request import Limits, decoded, read_v1, read_v2
from serving.transformer.cache import Row
from serving.transformer.candidates import Candidates
from serving.transformer.features import Histories, ItemFeatures, Items, LookupFailed, unknown
from serving.transformer.metrics import TransformerMetrics
from serving.transformer.predictor import Predictor, malformed
from serving.transformer.recommend import INPUTS, SIGNATURE, Wish, question, select, wishes
from serving.transformer.settings import Settings


class TransformerModel(kserve.Model):  # type: ignore[misc]  # kserve ships no types
    """Answers the `recommend` signature; requests of other signatures are passed on as they are.

    The answer's shape is the predictor's, and so are its headers naming revision and model.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        predictor: Predictor,
        candidates: Candidates,
        histories: Histories | None,
        items: Items | None,
        metrics: TransformerMetrics,
    ) -> None:
        """Put the parts together.

        Args:
            settings: The transformer's settings.
            predictor: Who answers what is passed on.
            candidates: Where the model's candidates come from.
            histories: Where users' histories are looked up, None for nowhere.
            items: Where item features are looked up, None for nowhere.
            metrics: The counters.
        """
        super().__init__(settings.model_name, return_response_headers=True)
        self._settings, self._predictor, self._metrics = settings, predictor, metrics
        self._candidates, self._histories, self._items = candidates, histories, items
        self._limits = Limits(settings.max_batch, settings.max_k, settings.max_history)
        self.ready = True

    async def predict(
        self,
        payload: object,
        headers: Mapping[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | kserve.InferResponse:
        """Answer one request."""
        headers = {name.lower(): value for name, value in (headers or {}).items()}
        named: dict[str, str] = response_headers if response_headers is not None else {}
        if isinstance(payload, kserve.InferRequest):
            return await self._v2(payload, headers, named)
        if isinstance(payload, bytes):
            payload = decoded(payload, headers.get("content-type", ""))
        if not isinstance(payload, dict) or payload.get("signature_name") != SIGNATURE:
            path = f"/v1/models/{self.name}:predict"
            return await self._passed_on(path, payload, headers, named)
        batch = read_v1(payload, signatures={SIGNATURE: INPUTS}, limits=self._limits)
        rows = await self._recommend(wishes(batch), headers, named)
        return {"predictions": [{"items": row.items, "scores": row.scores} for row in rows]}

    async def _v2(
        self, payload: kserve.InferRequest, headers: Mapping[str, str], named: dict[str, str]
    ) -> dict[str, Any] | kserve.InferResponse:
        signature = (payload.parameters or {}).get("signature_name")
        if signature != SIGNATURE:
            content, _ = payload.to_rest()
            path = f"/v2/models/{self.name}/infer"
            return await self._passed_on(path, content, headers, named)
        tensors = {
            tensor.name: (tensor.datatype, tensor.shape, tensor.data) for tensor in payload.inputs
        }
        batch = read_v2(tensors, signature, signatures={SIGNATURE: INPUTS}, limits=self._limits)
        rows = await self._recommend(wishes(batch), headers, named)
        return _v2_answer(rows, payload.id or str(uuid.uuid4()), self.name)

    async def _passed_on(
        self, path: str, payload: object, headers: Mapping[str, str], named: dict[str, str]
    ) -> dict[str, Any]:
        answer = await self._predictor.ask(path, payload, headers)
        if not isinstance(answer.content, dict):
            raise malformed(f"found {type(answer.content).__name__}, expected an object")
        named.update(answer.headers)
        return answer.content

    async def _recommend(
        self, asked_for: Sequence[Wish], headers: Mapping[str, str], named: dict[str, str]
    ) -> list[Row]:
        histories = await self._looked_up(asked_for)
        questions = [
            question(wish, history, self._settings)
            for wish, history in zip(asked_for, histories, strict=True)
        ]
        candidates, names = await self._candidates.of(questions, _routed(asked_for[0], headers))
        named.update(names)
        features = await self._features(candidates)
        answer = []
        for wish, asked, row, known in zip(asked_for, questions, candidates, features, strict=True):
            selection = select(row, known, wish, asked, self._settings)
            for reason, count in selection.removed.items():
                self._metrics.filtered(reason, count)
            if len(selection.row.items) < wish.k:
                self._metrics.short()
            answer.append(selection.row)
        return answer

    async def _looked_up(self, asked_for: Sequence[Wish]) -> Sequence[Sequence[str]]:
        users = [
            wish.user
            for wish in asked_for
            if wish.user and (self._settings.filter_bought or not wish.history)
        ]
        if self._histories is None or not users:
            return [()] * len(asked_for)
        try:
            by_user = dict(zip(users, await self._histories.of(users), strict=True))
        except LookupFailed:
            self._metrics.lookup_failed("history")
            if self._settings.on_lookup_error == "refuse":
                raise
            by_user = {}
        return [by_user.get(wish.user, ()) for wish in asked_for]

    async def _features(self, candidates: Sequence[Row]) -> list[ItemFeatures]:
        items = list(dict.fromkeys(item for row in candidates for item in row.items))
        if self._items is None or not items:
            return [unknown(len(row.items)) for row in candidates]
        try:
            features = await self._items.of(items)
        except LookupFailed:
            self._metrics.lookup_failed("items")
            if self._settings.on_lookup_error == "refuse":
                raise
            features = unknown(len(items))
        place = {item: position for position, item in enumerate(items)}
        return [features.take([place[item] for item in row.items]) for row in candidates]

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the inputs of `recommend` for the v2 metadata."""
        kinds = {"string": "BYTES", "integer": "INT64", "number": "FP32"}
        return [
            {
                "name": spec.name,
                "datatype": kinds[spec.kind],
                "shape": [-1, -1] if spec.repeated else [-1],
            }
            for spec in INPUTS
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the outputs of `recommend` for the v2 metadata."""
        return [
            {"name": "items", "datatype": "BYTES", "shape": [-1, -1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
        ]


def _routed(first: Wish, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers by which a split before the predictor keeps the user with a revision.

    It goes by the first row's user. Said in a header, that holds also for the question which
    model answers, which has no body, and when only later rows are asked.
    """
    user = first.user
    # What a header cannot carry unchanged is left to the body.
    if not user or not user.isascii() or not user.isprintable() or user != user.strip():
        return headers
    return {USER_HEADER.lower(): user, **headers}


def _v2_answer(rows: Sequence[Row], request_id: str, name: str) -> kserve.InferResponse:
    """Return the rows as tensors, padded as the predictor pads: "" and the lowest finite score."""
    lowest = float(np.finfo(np.float32).min)
    width = max(len(row.items) for row in rows)
    padding = [width - len(row.items) for row in rows]
    items = [i for row, p in zip(rows, padding, strict=True) for i in (*row.items, *[""] * p)]
    scores = [s for row, p in zip(rows, padding, strict=True) for s in (*row.scores, *[lowest] * p)]
    shape = [len(rows), width]
    outputs = [
        kserve.InferOutput("items", shape, "BYTES", items),
        kserve.InferOutput("scores", shape, "FP32", scores),
    ]
    return kserve.InferResponse(request_id, name, outputs)
