import math

from components.study.records import Trial
from components.study.search import importance, is_hopeless, suggest
from components.study.space import Choices, Number, Range

SPACE = {
    "blocks": Choices((1, 2, 4)),
    "dimension": Range(8, 64, log=True),
    "learning_rate": Range(1e-4, 1e-1, log=True),
}


def trial(number: int, *values: float, state: str = "complete", **parameters: Number) -> Trial:
    given = {"blocks": 1, "dimension": 8, "learning_rate": 0.01} | parameters
    return Trial(number, 0, given, values, state=state)  # type: ignore[arg-type]


def test_the_same_trials_give_the_same_answer_and_all_stay_in_the_space() -> None:
    known: list[Trial] = [trial(0, 0.1, learning_rate=5.0)]  # outside: told to nobody
    for number in range(1, 14):
        chosen = suggest(SPACE, known, number=number, seed=1)
        assert chosen == suggest(SPACE, known, number=number, seed=1)
        assert chosen["blocks"] in (1, 2, 4)
        assert 8 <= chosen["dimension"] <= 64 and isinstance(chosen["dimension"], int)
        assert 1e-4 <= chosen["learning_rate"] <= 1e-1
        known.append(trial(number, -abs(math.log(chosen["learning_rate"] / 0.003)), **chosen))
    assert len({tuple(one.parameters.values()) for one in known}) == 14


def test_the_first_trials_fill_the_space_evenly() -> None:
    rates = [suggest(SPACE, [], number=n, seed=3)["learning_rate"] for n in range(1, 9)]
    # Sobol': of eight points each eighth of the range, here on its logarithm, holds one.
    eighths = sorted(int(8 * math.log(rate / 1e-4) / math.log(1e3)) for rate in rates)
    assert eighths == list(range(8))


def test_later_trials_look_where_it_was_good() -> None:
    known = []
    for number in range(1, 25):
        chosen = suggest(SPACE, known, number=number, seed=1)
        known.append(trial(number, -abs(math.log(chosen["learning_rate"] / 0.003)), **chosen))
    far = [abs(math.log(one.parameters["learning_rate"] / 0.003)) for one in known]
    assert sum(far[-8:]) < 0.7 * sum(far[:8])


def test_a_trial_is_hopeless_below_the_median_of_three_complete_ones() -> None:
    # After two epochs the complete ones had 0.2, 0.3 and 0.4 at best: the median is 0.3.
    ended = [trial(0, 0.1, 0.2), trial(1, 0.3, 0.3), trial(2, 0.2, 0.4, 0.5)]
    for value, hopeless in ((0.29, True), (0.31, False)):
        known = [*ended, trial(3, 0.05, value, state="running")]
        assert is_hopeless(SPACE, known, 3) is hopeless
    # The same value with only two to compare with, or two of three that were themselves pruned.
    assert not is_hopeless(SPACE, [*ended[:2], trial(3, 0.0, 0.0, state="running")], 3)
    pruned = [trial(n, 0.3, 0.3, state="pruned") for n in (1, 2)]
    assert not is_hopeless(SPACE, [ended[0], *pruned, trial(3, 0.0, 0.0, state="running")], 3)


def test_what_decides_is_called_important() -> None:
    known = []
    for number in range(1, 33):
        chosen = suggest(SPACE, [], number=number, seed=number)
        known.append(trial(number, -abs(math.log(chosen["learning_rate"] / 0.003)), **chosen))
    shares = importance(SPACE, known)
    assert max(shares, key=shares.__getitem__) == "learning_rate"
    assert math.isclose(sum(shares.values()), 1)
    assert importance(SPACE, known[:7]) == {}
