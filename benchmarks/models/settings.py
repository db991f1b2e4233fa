"""Hyper-parameters of each family, chosen on the validation part, and what is asked of them.

`python -m benchmarks.models choose MODEL '{…}' …` prints what the choice rests on. Of what was
tried, nDCG@10 or RMSE there:

* matrix_factorization: l2 5 .2689, 8 .2493.
* rating_factorization: learning rate .003 for 40 epochs .9124, .005 for 25 .9130, .01 for 15 .9207.
* ranker (task rating), at its best epoch: learning rate .001 with l2 .02 .9407, with l2 .1 .9403;
  .002 with l2 .05 and l2_network .0001 .9357. The split is random, so what was rated just before
  tells nothing that the test part has, too: the history is one band of age.
* linear_autoencoder: without dropout and activity, l2 300 .2671, 500 .2675, 800 .2683. With them, of
  6 dropouts × 4 activities × 6 values of l2 and a finer grid around the best: dropout .85,
  activity .5, l2 100 .2772; .8, .7, 100 .2769; .7, .5, 150 .2768; dropout alone .2718 (.7, 200),
  activity alone .2708 (.5, 300). Test figures of the model without either, .4803 and .4829, had
  been seen before.
"""

Settings = dict[str, float | str]

CHOSEN: dict[str, Settings] = {
    "linear_autoencoder": {
        "l2": 100.0, "dropout": 0.85, "activity": 0.5, "recency": 0.0, "history_length": 1000,
    },
    "matrix_factorization": {
        "l2": 5.0, "epochs": 20, "patience": 20, "learning_rate": 0.005, "batch_baskets": 1024,
    },
    "ranker": {
        "task": "rating", "gap_days": 0.0, "age_bands": 1, "history_length": 512, "l2": 0.05,
        "l2_network": 0.0001, "epochs": 10, "patience": 10, "learning_rate": 0.002,
    },
    "rating_factorization": {"epochs": 40, "patience": 40, "learning_rate": 0.003},
}  # fmt: skip
RATING_FAMILIES: tuple[str, ...] = ("ranker", "rating_factorization")
REQUIRED: dict[str, dict[str, float]] = {
    "linear_autoencoder": {"nDCG@10": 0.4842},
    "matrix_factorization": {"nDCG@10": 0.4687},
    "rating_factorization": {"RMSE": 0.9157},
}
