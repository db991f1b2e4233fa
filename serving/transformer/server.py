"""Putting the model, its look-ups, its cache and KServe's server together."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from kserve import model_server
from kserve.logging import logger

from serving.protocol.gate import RequestMetrics
from serving.protocol.rest_server import EX_CONFIG, RestServer, guard, quiet
from serving.transformer.cache import AnswerCache, MemoryStore, Store
from serving.transformer.candidates import Candidates
from serving.transformer.features import Columns, Histories, Items, LookupFailed
from serving.transformer.files import FilesError, open_files
from serving.transformer.metrics import TransformerMetrics
from serving.transformer.model import TransformerModel
from serving.transformer.parquet_features import ParquetHistories, ParquetItems, Watched
from serving.transformer.predictor import Predictor, PredictorFailed
from serving.transformer.redis_store import RedisHistories, RedisItems, RedisStore, connect
from serving.transformer.settings import Settings, is_redis


def serve(settings: Settings) -> int:
    """Load the look-ups and serve until SIGTERM.

    Args:
        settings: The transformer's settings.

    Returns:
        Exit code; EX_CONFIG when the look-ups' files cannot be used.
    """
    try:
        histories, items = _histories(settings), _items(settings)
    except FilesError as error:
        sys.stderr.write(f"error: {error}\n")
        return EX_CONFIG
    metrics = TransformerMetrics(settings.model_name)
    predictor = Predictor(
        settings.predictor_url, model=settings.model_name, timeout_s=settings.predictor_timeout_s
    )
    cache = _cache(settings, metrics)
    model = TransformerModel(
        settings,
        predictor=predictor,
        candidates=Candidates(
            predictor,
            cache,
            model_name=settings.model_name,
            bypassed=lambda rows: metrics.cached("bypass", rows),
        ),
        histories=histories,
        items=items,
        metrics=metrics,
    )
    app = model_server.app
    guard(
        app,
        metrics=RequestMetrics("shopflow_transformer"),
        model=settings.model_name,
        revision=settings.revision,
        max_body_bytes=settings.max_body_bytes,
    )

    async def predictor_failed(_: Request, error: Exception) -> Response:
        assert isinstance(error, PredictorFailed)
        metrics.predictor_failed(error.status)
        return Response(error.body, error.status, media_type=error.content_type)

    app.add_exception_handler(PredictorFailed, predictor_failed)
    app.add_exception_handler(LookupFailed, _lookup_failed)
    server = RestServer(
        http_port=settings.http_port,
        enable_grpc=False,
        workers=1,
        enable_latency_logging=settings.enable_latency_logging,
        grace_period=10,
    )
    server.host = settings.host
    watched = {
        of: source.watched
        for of, source in (("history", histories), ("items", items))
        if isinstance(source, ParquetHistories | ParquetItems)
    }
    server.around = _open(settings, watched, metrics, predictor, cache)
    if not settings.enable_latency_logging:
        quiet()
    server.start([model])
    return 0


@asynccontextmanager
async def _open(
    settings: Settings,
    watched: "dict[str, Watched[Any]]",
    metrics: TransformerMetrics,
    predictor: Predictor,
    cache: AnswerCache | None,
) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(_reload(of, source, settings.reload_s, metrics))
        for of, source in watched.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await predictor.close()
        if cache is not None:
            await cache.close()


async def _reload(
    of: str, source: "Watched[Any]", every_s: float, metrics: TransformerMetrics
) -> None:
    """Look for changed files for ever; a failure keeps what is there, and is counted."""
    while True:
        await asyncio.sleep(every_s)
        try:
            if await asyncio.to_thread(source.reload):
                logger.info("%s: reloaded", of)
        except FilesError as error:
            metrics.lookup_failed(of)
            logger.error("%s: not reloaded: %s", of, error)


def _histories(settings: Settings) -> Histories | None:
    if not settings.history:
        return None
    if is_redis(settings.history):
        return RedisHistories(connect(settings.history, timeout_s=settings.redis_timeout_s))
    return ParquetHistories(open_files(settings.history))


def _items(settings: Settings) -> Items | None:
    if not settings.items:
        return None
    columns = Columns(settings.category_column, settings.stock_column, settings.vector_column)
    if is_redis(settings.items):
        return RedisItems(connect(settings.items, timeout_s=settings.redis_timeout_s), columns)
    return ParquetItems(open_files(settings.items), columns)


def _cache(settings: Settings, metrics: TransformerMetrics) -> AnswerCache | None:
    if settings.cache == "none":
        return None
    store: Store
    if settings.cache_is_redis:
        client = connect(settings.cache, timeout_s=settings.redis_timeout_s)
        store = RedisStore(client, ttl_s=settings.cache_ttl_s)
    else:
        size_bytes = round(settings.cache_mb * 2**20)
        store = MemoryStore(size_bytes=size_bytes, ttl_s=settings.cache_ttl_s)
    return AnswerCache(
        store,
        model_name=settings.model_name,
        filters_version=settings.filters_version,
        count=metrics.cached,
    )


async def _lookup_failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)[:300]}, status_code=503)
