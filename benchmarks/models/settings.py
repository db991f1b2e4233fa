"""Hyper-parameters of each family, chosen on the validation part, and what is asked of them.

`python -m benchmarks.models choose MODEL '{…}' …` prints what the choice rests on. Of what was
tried, nDCG@10 or RMSE there; popularity's nDCG@10 is .1669:

* linear_autoencoder: without dropout and activity, l2 300 .2671, 500 .2675, 800 .2683. With them,
  of 6 dropouts × 4 activities × 6 values of l2 and a finer grid around the best: dropout .85,
  activity .5, l2 100 .2772; .8, .7, 100 .2769; .7, .5, 150 .2768; dropout alone .2718 (.7, 200),
  activity alone .2708 (.5, 300). Test figures of the model without either, .4803 and .4829, had
  been seen before.
* matrix_factorization: l2 5 .2689, 8 .2493.
* rating_factorization: learning rate .003 for 40 epochs .9124, .005 for 25 .9130, .01 for 15 .9207.
* ranker (task rating), at its best epoch: learning rate .001 with l2 .02 .9407, with l2 .1 .9403;
  .002 with l2 .05 and l2_network .0001 .9357.
* slist: together 10, dropout .8, activity .5, l2 1000 .2626; together 1, l2 100 .2312; without
  dropout and activity .1563.
* two_tower: its defaults .1587; 10 epochs, larger batches and one band of age .2087.
* sasrec: its defaults' rate for 2 epochs .1796, for 10 .1166; .0005 for 8 .1801, .0003 for 12
  .1826.
* gru4rec: its defaults' rate for 2 epochs .1524, for 10 .1433; .0005 for 6 .1708, for 10 .1705.

The split is random: what was taken just before tells nothing that the test part has, too. That
takes their strength from sasrec, gru4rec, two_tower and slist, and is why histories are long here,
recency is off and there is one band of age.
"""

Settings = dict[str, float | str]

CHOSEN: dict[str, Settings] = {
    "linear_autoencoder": {
        "l2": 100.0, "dropout": 0.85, "activity": 0.5, "recency": 0.0, "history_length": 1000,
    },
    "matrix_factorization": {
        "l2": 5.0, "epochs": 20, "patience": 20, "learning_rate": 0.005, "batch_baskets": 1024,
    },
    "slist": {
        "l2": 1000.0, "dropout": 0.8, "activity": 0.5, "together": 10.0, "recency": 0.0,
        "history_length": 1000,
    },
    "two_tower": {
        "epochs": 10, "patience": 10, "batch_baskets": 2048, "history_length": 512, "age_bands": 1,
        "occurrences": 1,
    },
    "sasrec": {
        "epochs": 12, "patience": 12, "learning_rate": 0.0003, "history_length": 500,
        "dropout": 0.5,
    },
    "gru4rec": {
        "epochs": 6, "patience": 6, "learning_rate": 0.0005, "history_length": 500, "dropout": 0.5,
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
