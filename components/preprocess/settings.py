"""What the fitted transform graph may cost and how finely it looks."""

import dataclasses

from components.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreprocessSettings:
    """Limits of vocabularies, buckets and n-grams.

    Attributes:
        vocabulary_size: Most entries kept in one vocabulary, the most frequent ones.
        min_frequency: An entry seen fewer times in the train split goes to an OOV bucket.
        oov_buckets: Buckets that unknown entries are hashed into, after the vocabulary.
        numeric_buckets: Quantile buckets of a numeric feature.
        ngrams: Longest n-gram of words made from a text feature.
        batch_rows: Rows in one Arrow record batch.
    """

    vocabulary_size: int = 200_000
    min_frequency: int = 1
    oov_buckets: int = 8
    numeric_buckets: int = 10
    ngrams: int = 2
    batch_rows: int = 100_000

    def __post_init__(self) -> None:
        """Refuse a setting that no graph can be fitted with."""
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 2 if field.name == "numeric_buckets" else 1
            if value < least:
                raise InputError(
                    f"preprocess setting {field.name}", str(value), f"at least {least}"
                )
