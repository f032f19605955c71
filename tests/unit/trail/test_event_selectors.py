"""What event selectors record, by the rules of the CloudTrail user guide."""

from __future__ import annotations

import itertools
import random

from airflow_provider_cloudtrail.trail.event_selectors import Reach, as_advanced, parse, reach
from tests.support.trail_settings import basic, selector


def test_one_field_with_several_operators():
    """The example of the user guide: selecting operators are alternatives, deselecting ones all hold."""
    found = selector(
        x__Equals=["b/object1"],
        x__StartsWith=["b/"],
        x__EndsWith=["object3"],
        x__NotStartsWith=["b/deselect"],
        x__NotEndsWith=["object5"],
        x__NotEquals=["b/object6"],
    )
    condition = next(condition for condition in parse(found) if condition.field == "x")
    recorded = {"b/object1", "b/object2", "b1/object3"}
    lost = {"b/deselectObject4", "b/object5", "b/object6", "c/object2"}
    assert {value for value in recorded | lost if condition.accepts(value)} == recorded


def test_reach_agrees_with_trying_every_event():
    """Random selectors over two fields, held against all short texts; a letter that no condition has among them."""
    dice = random.Random(4)
    texts = ["".join(letters) for length in range(6) for letters in itertools.product("abz", repeat=length)]
    operators = ["Equals", "StartsWith", "EndsWith", "NotEquals", "NotStartsWith", "NotEndsWith"]
    seen = set()
    for _ in range(150):
        selectors = []
        for _ in range(dice.randint(1, 4)):
            fields = dice.sample(["text", "readOnly"], dice.randint(1, 2))
            conditions = []
            for field in fields:
                if field == "readOnly":
                    conditions.append({"Field": field, "Equals": [dice.choice(["true", "false"])]})
                else:
                    values = ["".join(dice.choices("ab", k=dice.randint(1, 2))) for _ in range(dice.randint(1, 2))]
                    conditions.append({"Field": field, dice.choice(operators): values})
            selectors.append(parse({"FieldSelectors": conditions}))
        matched = {
            any(all(c.accepts(kind if c.field == "readOnly" else text) for c in conditions) for conditions in selectors)
            for kind in ("true", "false")
            for text in texts
        }
        expected = {(True,): Reach.ALL, (False,): Reach.NONE}.get(tuple(matched), Reach.SOME)
        assert reach(selectors, {"readOnly": ["true", "false"]}) is expected, selectors
        seen.add(expected)
    assert {Reach.ALL, Reach.SOME} <= seen


def test_basic_selectors_without_values_record_no_data_events():
    answer = basic(DataResources=[{"Type": "AWS::S3::Object", "Values": []}])
    assert len(as_advanced(answer)) == 1
