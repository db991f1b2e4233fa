"""What is trained, from which seed, on what, and from which earlier model."""

import dataclasses

from components.errors import InputError

ATTEMPTS = 3
_SEEDS = 2**31
_STRATEGIES = ("auto", "one", "mirrored", "multi_worker")
_POLICIES = ("refuse", "anew")
_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """On which devices a training runs, and how they compute.

    Attributes:
        strategy: `one` device; `mirrored`, all GPUs of the machine; `multi_worker`, the workers of
            TF_CONFIG; `auto`, whichever of these there is.
        precision: `float32`, or a product's numbers in `mixed_bfloat16` or `mixed_float16`, with
            variables and losses in float32.
    """

    strategy: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Refuse what is not allowed.

        Raises:
            InputError: Names the allowed values.
        """
        for name, allowed in (("strategy", _STRATEGIES), ("precision", _PRECISIONS)):
            if getattr(self, name) not in allowed:
                found = repr(getattr(self, name))
                raise InputError(f"parameter {name}", found, f"one of {', '.join(allowed)}")


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """Which model a training goes on from.

    Attributes:
        package_uri: A published package; "" for none.
        on_mismatch: What to do with one that does not fit: "refuse", or "anew" to start without it
            and say so.
    """

    package_uri: str = ""
    on_mismatch: str = "refuse"

    def __post_init__(self) -> None:
        """Refuse what is not allowed.

        Raises:
            InputError: Names the allowed values.
        """
        if self.on_mismatch not in _POLICIES:
            found = repr(self.on_mismatch)
            raise InputError("warm_start_mismatch", found, " or ".join(_POLICIES))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of one training.

    Attributes:
        model: Name in the registry.
        hyperparameters: JSON object; names left out keep the model's default. "" is what the model
            itself has for the attempt.
        attempt: Which of a run's attempts this is: 1, 2 or 3.
        seed: Seed of every random choice.
        eval_users: Users of the eval split that early stopping looks at, drawn with the seed.
        explain: Whether the model has the signature `explain`: a call costs as much as two more
            scorings than the history is long, so a server that should not offer it goes without.
        devices: What it runs on.
        warm_start: Which model to go on from.
    """

    model: str = "two_tower"
    hyperparameters: str = "{}"
    attempt: int = 1
    seed: int = 1
    eval_users: int = 1000
    explain: bool = False
    devices: DeviceSettings = DeviceSettings()
    warm_start: WarmStart = WarmStart()

    def __post_init__(self) -> None:
        """Refuse an attempt there is not, and a seed that not every source of random numbers takes.

        Raises:
            InputError: Names the range.
        """
        if not 1 <= self.attempt <= ATTEMPTS:
            raise InputError("attempt", str(self.attempt), f"a whole number from 1 to {ATTEMPTS}")
        if not 0 <= self.seed < _SEEDS:
            found, expected = str(self.seed), f"a whole number from 0 to {_SEEDS - 1:,}"
            raise InputError("parameter seed", found, expected)
