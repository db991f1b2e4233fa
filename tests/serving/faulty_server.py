"""The predictor with faults to order: a delay, and an error at every n-th request."""

import argparse
import asyncio
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from serving.predictor.model import RecommenderModel  # noqa: E402  # after the environment
from serving.predictor.server import arguments, serve  # noqa: E402

parser = argparse.ArgumentParser(add_help=False)
parser.add_argument("--delay_ms", type=float, default=0.0)
parser.add_argument("--fail_every", type=int, default=0)
FAULTS, REST = parser.parse_known_args()


class FaultyModel(RecommenderModel):
    answered = 0

    async def predict(self, payload, headers=None):
        self.answered += 1
        number = self.answered
        await asyncio.sleep(FAULTS.delay_ms / 1000)
        if FAULTS.fail_every and number % FAULTS.fail_every == 0:
            raise RuntimeError("a fault to order")
        return await super().predict(payload, headers)


if __name__ == "__main__":
    sys.exit(serve(arguments(REST), model_class=FaultyModel))
