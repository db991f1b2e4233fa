"""Five fields as in crontab become KFP's six; what can never fire is refused."""

import datetime

import pytest

from components.errors import InputError
from pipelines.client.cron import kubeflow_cron

TODAY = datetime.date(2026, 11, 24)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("30 0 3 * * *", "30 0 3 * * *"),
        ("*/15 8-18 * * MON-FRI", "0 */15 8-18 * * mon-fri"),
        ("0 0 29 2 *", "0 0 0 29 2 *"),  # every leap year
        ("0 0 31 4,5 ?", "0 0 0 31 4,5 ?"),  # May has one
        ("0 0 29 2 */2", "0 0 0 29 2 */2"),  # a Tuesday in 2028
        ("0 0 30 2 1", "0 0 0 30 2 1"),  # either day is enough: every Monday of February
        ("5/20 * 1 JAN *", "0 5/20 * 1 jan *"),
    ],
)
def test_what_fires_is_read_as_crontab_has_it(expression, expected):
    assert kubeflow_cron(expression, today=TODAY) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 30,31 feb ?",
        "59 59 23 31 2 */2",
        "0 0 29 2 */6",  # 29 February 2028 is a Tuesday; */6 is Sunday and Saturday
    ],
)
def test_what_never_fires_is_refused(expression):
    with pytest.raises(InputError, match="never fires"):
        kubeflow_cron(expression, today=TODAY)


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * 7",
        "60 * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "0 0 0 * *",
        "a * * * *",
        "\u0663 * * * *",
        "@daily",
    ],
)
def test_what_the_scheduler_does_not_read_is_refused(expression):
    with pytest.raises(InputError, match="--cron"):
        kubeflow_cron(expression, today=TODAY)
