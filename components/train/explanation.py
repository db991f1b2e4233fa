"""What moved one item's score: the score without each event of the history, and without the user.

Leave-one-out: c_j = s(user, history, item) − s(user, history without event j, item), and the same
for the user, who is then a stranger. It asks the model as anyone asks it and so holds for every
family, unlike gradients, which a model that counts purchases does not have. An event with a twin in
the history may matter little alone: the changes do not sum to the score.

A model that knows items by more than their id also says what each feature of the item adds, by the
score of the same item with that feature's numbers at zero (`Recommender.explain`): `features`,
string [B, F], and `feature_changes`, float32 [B, F], 0 for an unknown item.
"""

from collections.abc import Callable

import tensorflow as tf

Score = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]

# Variants of the questions that are scored at once, which bounds the memory.
_AT_ONCE = 256


def explain(
    score: Score, user: tf.Tensor, history: tf.Tensor, item: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return one item's score per query, and how much each part of the query adds to it.

    Args:
        score: (user [B], history [B, L], item [B]) → float32 [B].
        user: User ids, string [B].
        history: Item ids, string [B, L], most recent last; "" is padding.
        item: The items that are explained, string [B].

    Returns:
        `score` and `user_change`, float32 [B] both; `history_changes`, float32 [B, L], in the
        order of the history and 0 for padding.
    """
    count, length = tf.shape(history)[0], tf.shape(history)[1]
    # Of each query: without event 0 … L − 1, without the user, and whole.
    variants = length + 2
    total = count * variants
    chunks = (total + _AT_ONCE - 1) // _AT_ONCE
    scores = tf.TensorArray(tf.float32, size=chunks, infer_shape=False, element_shape=[None])
    for chunk in tf.range(chunks):
        number = tf.range(chunk * _AT_ONCE, tf.minimum((chunk + 1) * _AT_ONCE, total))
        row, variant = number // variants, number % variants
        left_out = tf.range(length)[tf.newaxis] == variant[:, tf.newaxis]
        part = score(
            tf.where(variant == length, "", tf.gather(user, row)),
            tf.where(left_out, "", tf.gather(history, row)),
            tf.gather(item, row),
        )
        scores = scores.write(chunk, part)
    table = tf.reshape(scores.concat(), [count, variants])
    changes = table[:, -1:] - table[:, :-1]
    return {
        "score": table[:, -1],
        "user_change": changes[:, -1],
        "history_changes": tf.where(history != "", changes[:, :-1], 0.0),
    }
