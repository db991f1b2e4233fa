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
        explain: Whether the model has the signature `explain`: a call costs as much as two more
            scorings than the history is long, so a server that should not offer it goes without.
    """

    model: str = "two_tower"
    hyperparameters: str = "{}"
    seed: int = 1
    eval_users: int = 1000
    explain: bool = False
