"""Other libraries on the same split, in an environment of their own: no import of Shopflow here.

Run by `benchmarks.models` as: python peers.py SPLIT.npz OUT.npz
Reads user, item and rating codes of train and test; writes each peer's CPU time with its scores of
all items, or with its predicted ratings of the test rows. Settings are the libraries' defaults
unless said beside them.
"""

import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

Scores = np.ndarray
_FACTORS, _SEED = 64, 1


class Split:
    """The codes; `x` is the binary user × item matrix of the train part."""

    def __init__(self, path: str) -> None:
        import scipy.sparse

        loaded = np.load(path)
        self.train = [loaded[f"train_{name}"] for name in ("user", "item", "rating")]
        self.test = [loaded[f"test_{name}"] for name in ("user", "item")]
        self.shape = tuple(loaded["shape"])
        user, item, _ = self.train
        ones = np.ones(len(user), np.float32)
        self.x = scipy.sparse.csr_matrix((ones, (user, item)), shape=self.shape)


def timed(fit: Callable[[], object]) -> tuple[object, float]:
    """Return what `fit` returns, and the CPU time it took, of all threads."""
    started = time.process_time()
    return fit(), time.process_time() - started


def surprise_ratings(split: Split, algorithm: str) -> tuple[Scores, float]:
    """scikit-surprise; KNNBaseline with item-based Pearson-baseline similarity."""
    import pandas as pd
    import surprise

    user, item, rating = split.train
    frame = pd.DataFrame({"user": user, "item": item, "rating": rating})
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5)))
    trainset = data.build_full_trainset()
    if algorithm == "KNNBaseline":
        similarity = {"name": "pearson_baseline", "user_based": False}
        model = surprise.KNNBaseline(sim_options=similarity, verbose=False)
    else:
        model = getattr(surprise, algorithm)(random_state=_SEED)
    _, seconds = timed(lambda: model.fit(trainset))
    pairs = zip(*split.test, strict=True)
    return np.array([model.predict(int(u), int(i)).est for u, i in pairs]), seconds


def lenskit_ratings(split: Split) -> tuple[Scores, float]:
    """lenskit, item k-NN with explicit feedback, 20 neighbours."""
    import pandas as pd
    from lenskit.batch import predict
    from lenskit.data import ItemListCollection, UserIDKey, from_interactions_df
    from lenskit.knn import ItemKNNScorer
    from lenskit.pipeline import predict_pipeline

    user, item, rating = split.train
    frame = pd.DataFrame({"user_id": user, "item_id": item, "rating": rating})
    data = from_interactions_df(frame)
    pipeline = predict_pipeline(ItemKNNScorer(max_nbrs=20, feedback="explicit"), fallback=True)
    _, seconds = timed(lambda: pipeline.train(data))
    asked = pd.DataFrame({"user_id": split.test[0], "item_id": split.test[1]})
    lists = ItemListCollection.from_df(asked, UserIDKey)
    found = predict(pipeline, lists, n_jobs=1).to_df()
    merged = asked.merge(found, on=["user_id", "item_id"], how="left")
    return merged["score"].to_numpy(), seconds


def implicit_scores(split: Split, name: str) -> tuple[Scores, float]:
    """The library implicit, 64 factors."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking

    kind = {"ALS": AlternatingLeastSquares, "BPR": BayesianPersonalizedRanking}[name]
    model = kind(factors=_FACTORS, random_state=_SEED)
    _, seconds = timed(lambda: model.fit(split.x, show_progress=False))
    return model.user_factors @ model.item_factors.T, seconds


def cornac_scores(split: Split) -> tuple[Scores, float]:
    """Cornac's BPR with the settings of microsoft/recommenders' notebook."""
    from cornac.data import Dataset
    from cornac.models import BPR

    user, item, rating = split.train
    rows = list(zip(user.tolist(), item.tolist(), rating.tolist(), strict=True))
    data = Dataset.from_uir(rows, seed=_SEED)
    settings = {"k": 200, "max_iter": 100, "learning_rate": 0.01, "lambda_reg": 0.001}
    model = BPR(**settings, seed=_SEED, verbose=False)
    _, seconds = timed(lambda: model.fit(data))
    scores = np.full(split.shape, -np.inf, np.float32)
    columns = np.array([data.iid_map[i] for i in sorted(data.iid_map)])
    for u in range(split.shape[0]):
        scores[u, sorted(data.iid_map)] = model.score(data.uid_map[u])[columns]
    return scores, seconds


def ease_scores(split: Split) -> tuple[Scores, float]:
    """EASE in ten lines of numpy, λ = 300 as in the published comparison."""

    def fit() -> np.ndarray:
        gram = (split.x.T @ split.x).toarray().astype(np.float64)
        inverse = np.linalg.inv(gram + 300 * np.eye(len(gram)))
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0)
        return weights

    weights, seconds = timed(fit)
    return split.x @ weights, seconds


def popularity_scores(split: Split) -> tuple[Scores, float]:
    """How many users have an item."""
    counts, seconds = timed(lambda: np.asarray(split.x.sum(axis=0)).ravel())
    return np.broadcast_to(counts, split.shape), seconds


def main(split_path: str, out_path: str) -> None:
    """Fit every peer; one that does not install or run is named with its error."""
    split = Split(split_path)
    surprise, implicit = f"scikit-surprise {version('scikit-surprise')}", version("implicit")
    peers: dict[str, Callable[[], tuple[Scores, float]]] = {
        "popularity": lambda: popularity_scores(split),
        "EASE, λ=300 (numpy)": lambda: ease_scores(split),
        f"implicit {implicit} ALS": lambda: implicit_scores(split, "ALS"),
        f"implicit {implicit} BPR": lambda: implicit_scores(split, "BPR"),
        f"cornac {version('cornac')} BPR": lambda: cornac_scores(split),
        f"{surprise} SVD": lambda: surprise_ratings(split, "SVD"),
        f"{surprise} SVD++": lambda: surprise_ratings(split, "SVDpp"),
        f"{surprise} KNNBaseline": lambda: surprise_ratings(split, "KNNBaseline"),
        f"lenskit {version('lenskit')} ItemKNN": lambda: lenskit_ratings(split),
    }
    found: dict[str, np.ndarray] = {}
    for name, run in peers.items():
        result, seconds = run()
        found[name] = result
        found[f"{name}|fit_s"] = np.array(seconds)
        print(f"{name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    np.savez(out_path, **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
