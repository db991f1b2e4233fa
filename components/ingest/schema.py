"""The one statement of names, types, domains and presence: a tensorflow_metadata Schema."""

from collections.abc import Mapping

import polars as pl
from google.protobuf import text_format  # type: ignore[import-untyped]  # ships no stubs
from tensorflow_metadata.proto.v0 import schema_pb2

from components.ingest.config import CatalogueFeature

_IDS = ("user", "item")


def build_schema(
    events: pl.DataFrame, catalogue: pl.DataFrame, *, features: Mapping[str, CatalogueFeature]
) -> schema_pb2.Schema:
    """Describe the events, joined catalogue features included.

    A feature without a gap in the events and in the catalogue is required, a scalar of shape {};
    any other is optional, with at most one value.

    Args:
        events: The event columns, without the joined features.
        catalogue: `item` and the features.
        features: The catalogue features by name, as the config says.

    Returns:
        One Feature per column: user, item, time, the other event columns, the catalogue features.
    """
    schema = schema_pb2.Schema()
    gaps = dict(zip(events.columns, events.null_count().row(0), strict=True)) | {"item": 0}
    for name in ("user", "item", "time", *(c for c in events.columns if c not in _FIRST)):
        feature = _add(schema, name, tag="event", required=gaps[name] == 0)
        if name in _IDS:
            feature.annotation.tag.append("id")
        _describe(feature, events[name] if name in events.columns else None, kind=_KINDS[name])
    for name, config in features.items():
        required = catalogue[name].null_count() == 0
        feature = _add(schema, name, tag="catalogue", required=required)
        _describe(feature, catalogue[name], kind=config.type)
    return schema


_FIRST = ("user", "item", "code", "time")
_KINDS = {
    "user": "categorical",
    "item": "categorical",
    "time": "time",
    "event_type": "categorical",
    "quantity": "numeric",
    "price": "numeric",
    "rating": "numeric",
}


def schema_text(schema: schema_pb2.Schema) -> str:
    """Return the schema as a text proto."""
    return str(text_format.MessageToString(schema))


def _add(schema: schema_pb2.Schema, name: str, *, tag: str, required: bool) -> schema_pb2.Feature:
    feature = schema.feature.add(name=name)
    feature.presence.min_count = 1
    if required:
        feature.presence.min_fraction = 1.0
        feature.shape.SetInParent()
    else:
        feature.value_count.min, feature.value_count.max = 0, 1
    feature.annotation.tag.append(tag)
    return feature


def _describe(feature: schema_pb2.Feature, values: pl.Series | None, *, kind: str) -> None:
    if kind == "time":
        feature.type = schema_pb2.INT
        feature.time_domain.integer_format = schema_pb2.TimeDomain.UNIX_MICROSECONDS
    elif kind == "numeric":
        feature.type = schema_pb2.FLOAT
        low, high = (values.min(), values.max()) if values is not None else (None, None)
        if isinstance(low, float) and isinstance(high, float):
            feature.float_domain.min, feature.float_domain.max = low, high
    else:
        feature.type = schema_pb2.BYTES
        if kind == "text":
            feature.natural_language_domain.SetInParent()
