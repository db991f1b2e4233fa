"""Which features the schema describes, and what is done with each."""

import dataclasses
from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]  # ships no types
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import InputError


@dataclasses.dataclass(frozen=True)
class FeaturePlan:
    """Feature names by treatment, each in the schema's order.

    Attributes:
        ids: `user` and `item`: a vocabulary each.
        categorical: One value out of a set of strings: a vocabulary each.
        text: Natural language: words and n-grams of words, a vocabulary each.
        numeric: Numbers: a z-score and quantile buckets each.
    """

    ids: tuple[str, ...]
    categorical: tuple[str, ...]
    text: tuple[str, ...]
    numeric: tuple[str, ...]

    @property
    def strings(self) -> tuple[str, ...]:
        """Every feature whose raw value is a string."""
        return self.ids + self.categorical + self.text

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature the graph reads."""
        return self.strings + self.numeric


def read_schema(path: Path) -> schema_pb2.Schema:
    """Read a `tensorflow_metadata` schema.

    Raises:
        InputError: If the file is missing or is not a Schema text proto.
    """
    if not path.is_file():
        raise InputError(str(path), "no such file", "a tensorflow_metadata Schema text proto")
    schema = schema_pb2.Schema()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), schema)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), str(error), "a tensorflow_metadata Schema text proto"
        ) from error
    return schema


def plan_features(schema: schema_pb2.Schema) -> FeaturePlan:
    """Choose the treatment of each feature from its type and domain.

    Times are left out: an absolute time seen in training never comes back.

    Raises:
        InputError: If `user` or `item` is not described as a string.
    """
    types = {feature.name: feature.type for feature in schema.feature}
    for name in ("user", "item"):
        if types.get(name) != schema_pb2.BYTES:
            found = schema_pb2.FeatureType.Name(types[name]) if name in types else "no such feature"
            raise InputError(f"schema feature {name}", found, "type BYTES")
    others = [feature for feature in schema.feature if feature.name not in ("user", "item")]
    strings = [feature for feature in others if feature.type == schema_pb2.BYTES]
    return FeaturePlan(
        ids=("user", "item"),
        categorical=tuple(f.name for f in strings if not f.HasField("natural_language_domain")),
        text=tuple(f.name for f in strings if f.HasField("natural_language_domain")),
        numeric=tuple(
            feature.name
            for feature in others
            if feature.type in (schema_pb2.FLOAT, schema_pb2.INT)
            and not feature.HasField("time_domain")
        ),
    )
