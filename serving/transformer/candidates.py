"""The model's candidates: asked of the predictor, or remembered from the model that answers now."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving.transformer.cache import AnswerCache, Row, read_row
from serving.transformer.predictor import Answer, Predictor, malformed
from serving.transformer.recommend import Question, body


class Candidates:
    """Where the candidates of a request come from."""

    def __init__(
        self,
        predictor: Predictor,
        cache: AnswerCache | None,
        *,
        model_name: str,
        bypassed: Callable[[int], None],
    ) -> None:
        """Put a cache before the predictor.

        Args:
            predictor: Who is asked.
            cache: Remembered answers, None for no cache.
            model_name: The model's name in the protocol.
            bypassed: Called with the number of rows for which the cache could not be used.
        """
        self._predictor, self._cache, self._bypassed = predictor, cache, bypassed
        self._path = f"/v1/models/{model_name}:predict"

    async def of(
        self, questions: Sequence[Question], headers: Mapping[str, str]
    ) -> tuple[list[Row], Mapping[str, str]]:
        """Return the candidates of each row, and the headers that name who answered.

        Which model answers is asked each time a remembered answer may be used, on the way the
        request itself would take: a promotion or a roll-back ends the use of the old model's
        answers at once, and a canary is met as often as its share says.

        Args:
            questions: The rows.
            headers: Those of the client's request.

        Raises:
            PredictorFailed: If the predictor has no answer.
        """
        if self._cache is None:
            return await self._asked(questions, headers)
        now = await self._predictor.model(headers)
        if now.model is None:
            self._bypassed(len(questions))
            return await self._asked(questions, headers)
        keys = [self._cache.key(now.model, _canonical(asked)) for asked in questions]
        remembered = await self._cache.get(keys)
        missing = [number for number, row in enumerate(remembered) if row is None]
        rows: dict[int, Row] = {n: row for n, row in enumerate(remembered) if row is not None}
        names = now.headers
        if missing:
            fresh, names, model = await self._fresh(questions, missing, headers, now.model)
            rows |= fresh
            await self._remember(questions, fresh, model)
        return [rows[number] for number in range(len(questions))], names

    async def _fresh(
        self,
        questions: Sequence[Question],
        missing: Sequence[int],
        headers: Mapping[str, str],
        expected: str,
    ) -> tuple[dict[int, Row], Mapping[str, str], str | None]:
        answer = await self._exchange([questions[number] for number in missing], headers)
        if answer.model != expected and len(missing) < len(questions):
            # The split, or a change of it, gave the rest to another model. An answer is by one
            # model, so that one is asked for all of it.
            missing = range(len(questions))
            answer = await self._exchange(questions, headers)
        rows = _rows(answer, len(missing))
        return dict(zip(missing, rows, strict=True)), answer.headers, answer.model

    async def _remember(
        self, questions: Sequence[Question], rows: Mapping[int, Row], model: str | None
    ) -> None:
        if self._cache is not None and model is not None:
            keys = {n: self._cache.key(model, _canonical(questions[n])) for n in rows}
            await self._cache.put({keys[number]: row for number, row in rows.items()})

    async def _asked(
        self, questions: Sequence[Question], headers: Mapping[str, str]
    ) -> tuple[list[Row], Mapping[str, str]]:
        answer = await self._exchange(questions, headers)
        return _rows(answer, len(questions)), answer.headers

    async def _exchange(self, questions: Sequence[Question], headers: Mapping[str, str]) -> Answer:
        return await self._predictor.ask(self._path, body(questions), headers)


def _canonical(asked: Question) -> tuple[Any, ...]:
    return asked.user, list(asked.history), asked.fetch


def _rows(answer: Answer, count: int) -> list[Row]:
    content = answer.content
    rows = content.get("predictions") if isinstance(content, dict) else None
    if not isinstance(rows, list) or len(rows) != count:
        raise malformed(f"expected {count} rows of predictions")
    try:
        return [read_row(row) for row in rows]
    except ValueError as error:
        raise malformed(str(error)) from error
