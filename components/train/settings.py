"""What is trained, and from which seed."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of one training.

    Attributes:
        model: Name in the registry.
        hyperparameters: JSON object; names left out keep the model's default.
        seed: Seed of every random choice.
        eval_users: Users of the eval split that early stopping looks at, drawn with the seed.
    """

    model: str = "two_tower"
    hyperparameters: str = "{}"
    seed: int = 1
    eval_users: int = 1000
