import pytest

from components.errors import InputError
from components.ingest.config import load_config
from tests.shop import USER_BEHAVIOR

TEXT = USER_BEHAVIOR.read_text()


@pytest.mark.parametrize("name", ["user_behavior", "complete_journey"])
def test_the_configs_of_the_repository_load(name: str) -> None:
    path = USER_BEHAVIOR.with_name(f"{name}.yaml")
    assert load_config(path.read_text(), where=str(path)).name == name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "quantity: quantity",
            "quantty: quantity",
            "found unknown key events.columns.quantty (did you mean quantity?), "
            "expected one of user, item, time, event_type, quantity, price",
        ),
        (
            "type: text",
            "typ: text",
            "found unknown key catalogue.features.title.typ (did you mean type?), "
            "expected one of column, type",
        ),
        ("time_unit: s", "zone: UTC", "found unknown key events.zone, expected one of columns, "),
        ("    user: user_id\n", "", "found no key events.columns.user, expected it to be given"),
        ("    item: item_id\n", "", "found no key events.columns.item, expected it to be given"),
        ("type: text", "type: txt", "expected 'text', 'categorical' or 'numeric'"),
        (
            "eval_days: 7",
            "eval_days: 0",
            "split.eval_days: found 0, expected greater than or equal",
        ),
        (
            "eval_days: 7",
            "eval_days: soon",
            "split.eval_days: found 'soon', expected a valid integer",
        ),
        ("    list_price:", "    price:", "features.price: found the name price, expected none of"),
        ("item: item_id\n    time", "item: user_id\n    time", "user_id as user and as item"),
        (
            "time_unit: s",
            "price_of: lot",
            "events.price_of: found 'lot', expected 'unit' or 'line'",
        ),
        ("{column: brand,", "{column: [brand, title],", "found 2 columns, expected one, unless"),
    ],
)
def test_a_wrong_config_is_one_line_that_names_the_key(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        load_config(TEXT.replace(old, new), where="shop.yaml")
    assert str(caught.value).startswith("shop.yaml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"), [("events: [", "broken YAML"), ("just text", "str"), ("", "NoneType")]
)
def test_what_is_no_mapping_is_refused(text: str, found: str) -> None:
    with pytest.raises(InputError, match=f"shop.yaml: found {found}"):
        load_config(text, where="shop.yaml")


def test_line_prices_need_a_quantity() -> None:
    text = TEXT.replace("    quantity: quantity\n", "").replace("time_unit: s", "price_of: line")
    with pytest.raises(InputError, match="events.price_of: found line, expected columns quantity"):
        load_config(text, where="shop.yaml")


def test_kept_event_types_need_the_column() -> None:
    text = TEXT.replace("    event_type: behavior_type\n", "") + "\n"
    text = text.replace("clean:", "clean:\n  event_types: [buy]")
    with pytest.raises(InputError, match="clean.event_types: found types, expected events.columns"):
        load_config(text, where="shop.yaml")
