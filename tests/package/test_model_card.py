from components.package.model_card import model_card

MANIFEST = {
    "name": "shop",
    "version": 1,
    "model_sha256": "abc",
    "schema_sha256": "def",
    "blessing": {"reason": "all passed", "thresholds": []},
}


def test_a_card_shows_what_the_model_was_learned_for() -> None:
    rated = {"candidate/rmse/overall": 0.9, "candidate/rmse/new_user=yes": 1.1}
    card = model_card(MANIFEST | {"metrics": rated | {"rating_examples": 10}})
    assert "A model of ratings" in card and "| candidate/rmse/overall | 0.9 |" in card
    assert "new_user" not in card
    clicks = model_card(MANIFEST | {"metrics": {"candidate/auc/overall": 0.8}})
    assert "A retrieval model" in clicks and "| candidate/auc/overall | 0.8 |" in clicks
