"""Which revisions exist and who gets traffic, step by step through a service's life."""

from serving.platform.reconcile import Revisions, reconcile

A, B = {"model": {"storageUri": "a"}}, {"model": {"storageUri": "b"}}
ONE, TWO = "shop-predictor-00001", "shop-predictor-00002"


def step(revisions, template, percent, *ready):
    return reconcile(revisions, "shop", template=template, percent=percent, ready=ready)


def test_first_revision_is_closed_at_zero_and_takes_everything_above():
    revisions, split = step(Revisions(), A, 0, ONE)
    assert (revisions.stable, revisions.canary, split) == (None, ONE, {})
    assert step(revisions, A, 5, ONE)[1] == {ONE: 100}


def test_revision_without_canary_percent_is_stable_once_it_is_ready():
    revisions, _ = step(Revisions(), A, None)
    assert revisions.stable is None
    assert step(revisions, A, None, ONE)[0].stable == ONE


def test_canary_takes_its_share_and_stable_the_rest():
    stable = Revisions(1, ONE, ONE, {ONE: A})
    revisions, split = step(stable, B, 25, ONE, TWO)
    assert (revisions.canary, split) == (TWO, {ONE: 75, TWO: 25})


def test_promotion_waits_until_the_canary_is_ready():
    trial = Revisions(2, ONE, TWO, {ONE: A, TWO: B})
    revisions, split = step(trial, B, None, ONE)
    assert (revisions.stable, split) == (ONE, {ONE: 100})
    revisions, split = step(trial, B, None, ONE, TWO)
    assert (revisions, split) == (Revisions(2, TWO, TWO, {TWO: B}), {TWO: 100})


def test_roll_back_is_the_stable_template_again_and_starts_nothing():
    trial = Revisions(2, ONE, TWO, {ONE: A, TWO: B})
    assert step(trial, A, None, ONE, TWO) == (Revisions(2, ONE, ONE, {ONE: A}), {ONE: 100})


def test_names_are_never_used_twice():
    revisions, _ = step(Revisions(2, ONE, ONE, {ONE: A}), B, 0, ONE)
    assert revisions.canary == "shop-predictor-00003"


def test_first_release_rolled_back_leaves_nothing():
    assert step(Revisions(1, None, ONE, {ONE: A}), None, None, ONE) == (Revisions(1), {})
