import numpy as np
import pytest

from components.train.loop import Trainer
from tests.train.test_sequences import build, cycles


def test_l2_adds_lambda_over_the_events_times_the_squares_of_all_vectors() -> None:
    events = cycles(users=20, events=10)
    (batch,) = next(build("matrix_factorization", events).epoch_batches(events, seed=1, epoch=0))
    losses, squares = [], 0.0
    for l2 in (0.0, 5.0):
        model = build("matrix_factorization", events, l2=l2, dimension=4)
        users = np.random.default_rng(0).normal(size=model.user_embedding.shape)
        model.user_embedding.assign(users)
        losses.append(float(model.batch_loss(batch)))
        squares = np.square(users).sum() + np.square(np.asarray(model.item_embedding)).sum()
    # 200 events, λ = 5.
    assert losses[1] - losses[0] == pytest.approx(5.0 / 200 * squares, rel=1e-4)


def test_a_larger_l2_leaves_shorter_vectors() -> None:
    events, lengths = cycles(users=20, events=10), []
    for l2 in (0.0, 20.0):
        model = build("matrix_factorization", events, l2=l2, dimension=4, learning_rate=0.05)
        trainer = Trainer(model, model.settings)
        for epoch in range(20):
            for batch in trainer.model.epoch_batches(events, seed=1, epoch=epoch):
                trainer.step(batch)
        lengths.append([np.linalg.norm(v) for v in (model.user_embedding, model.item_embedding)])
    assert lengths[1][0] < 0.5 * lengths[0][0] and lengths[1][1] < 0.5 * lengths[0][1]
