"""Train on one and on two logical CPU devices; print the losses by step as JSON."""

import json
from typing import Any

import numpy as np
import tensorflow as tf

# Before anything else makes the devices.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from components.train.devices import Devices  # noqa: E402
from components.train.loop import Trainer  # noqa: E402
from components.train.models.registry import find_model  # noqa: E402
from components.train.settings import DeviceSettings  # noqa: E402
from tests.train.test_sequences import ITEMS, log_of, table, take_epoch  # noqa: E402

# Odd sizes, so that the shares are of unequal size and the last batch has one row.
SETTINGS: dict[str, dict[str, Any]] = {
    "two_tower": {"batch_baskets": 31, "gap_days": 0.0},
    "matrix_factorization": {"batch_baskets": 31, "gap_days": 0.0, "l2": 0.1},
    "sasrec": {"batch_events": 37},
}


def losses(name: str, devices: DeviceSettings) -> list[float]:
    random = np.random.default_rng(0)
    events = log_of([random.integers(0, ITEMS, random.integers(1, 9)) for _ in range(60)])
    found, entry = Devices(devices, environment={}), find_model(name)
    tf.keras.utils.set_random_seed(1)
    with found.scope():
        model = entry.build(table(events), entry.settings(**SETTINGS[name]), seed=1)
    model.prepare([events])
    trainer = Trainer(model, model.settings, devices=found)
    return [loss for epoch in range(2) for loss in take_epoch(trainer, events, epoch)]


found = {
    name: {kind: losses(name, DeviceSettings(strategy=kind)) for kind in ("one", "mirrored")}
    for name in SETTINGS
}
for precision in ("mixed_bfloat16", "mixed_float16"):
    settings = DeviceSettings(strategy="mirrored", precision=precision)
    found["sasrec"][precision] = losses("sasrec", settings)
print(json.dumps(found))
