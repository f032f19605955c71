"""Findings about the event selectors of a trail, and commands that mend them."""

from __future__ import annotations

import itertools
import json
import random
import shlex

import pytest

from airflow_provider_cloudtrail.trail.event_selectors import parse
from tests.support.trail_settings import DATA, MANAGEMENT, ORDERS, TYPE, advanced, basic, check, codes, selector

NARROWED = {"mwaa_data_events_narrowed": "high"}
MISSING = {"mwaa_data_events_missing": "high"}
PARTLY = {"mwaa_environments_partly_covered": "medium"}
ONE_ACTION = selector(eventName__Equals=["CreateCliToken"])
NAMES = ["CreateCliToken", "CreateWebLoginToken", "InvokeRestApi"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(basic(), MISSING, id="basic default"),
        pytest.param({"EventSelectors": [], "AdvancedEventSelectors": []}, MISSING, id="none at all"),
        pytest.param(
            basic(DataResources=[{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}]), MISSING, id="basic, all of S3"
        ),
        pytest.param(
            basic(ReadWriteType="ReadOnly"), {"management_events_only_read": "high", **MISSING}, id="basic, reads"
        ),
        pytest.param(
            basic(ReadWriteType="WriteOnly"), {"management_events_only_write": "medium", **MISSING}, id="basic, writes"
        ),
        pytest.param(
            {"EventSelectors": [{"ReadWriteType": kind} for kind in ("ReadOnly", "WriteOnly")]},
            MISSING,
            id="basic, reads and writes",
        ),
        pytest.param(
            basic(IncludeManagementEvents=False),
            {"management_events_missing": "high", **MISSING},
            id="basic, no management events",
        ),
        pytest.param(
            basic(ExcludeManagementEventSources=["kms.amazonaws.com"]),
            {"management_events_excluded": "medium", **MISSING},
            id="basic, without KMS",
        ),
        pytest.param(
            {
                "EventSelectors": [
                    {"ExcludeManagementEventSources": ["kms.amazonaws.com"]},
                    {"ExcludeManagementEventSources": ["rdsdata.amazonaws.com"]},
                ]
            },
            MISSING,
            id="basic, what one excludes the other records",
        ),
        pytest.param(advanced(MANAGEMENT, DATA), {}, id="everything"),
        pytest.param(advanced(DATA), {"management_events_missing": "high"}, id="data only"),
        pytest.param(advanced(MANAGEMENT), MISSING, id="management only"),
        pytest.param(
            advanced(
                selector("Management", readOnly__Equals=["true"]),
                selector("Management", readOnly__Equals=["false"]),
                DATA,
            ),
            {},
            id="reads and writes by two selectors",
        ),
        pytest.param(
            advanced(selector("Management", eventSource__NotEquals=["kms.amazonaws.com"]), DATA),
            {"management_events_excluded": "medium"},
            id="without KMS",
        ),
        pytest.param(
            advanced(selector("Management", eventSource__NotEquals=["airflow.amazonaws.com"]), DATA),
            {"management_events_excluded": "high"},
            id="without MWAA",
        ),
        pytest.param(
            advanced(
                selector("Management", readOnly__Equals=["false"], eventSource__NotEquals=["kms.amazonaws.com"]), DATA
            ),
            {"management_events_only_write": "medium", "management_events_excluded": "medium"},
            id="writes, without KMS",
        ),
        pytest.param(
            advanced(
                selector("Management", readOnly__Equals=["true"]),
                selector("Management", readOnly__Equals=["false"], eventSource__NotEquals=["kms.amazonaws.com"]),
                DATA,
            ),
            {"management_events_narrowed": "medium"},
            id="of KMS only reads",
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_type__Equals=["AWS::S3::Object"])), MISSING, id="other type"
        ),
        pytest.param(advanced(MANAGEMENT, ONE_ACTION), NARROWED, id="one action"),
        pytest.param(advanced(MANAGEMENT, ONE_ACTION, DATA), {}, id="one action and everything"),
        pytest.param(
            advanced(MANAGEMENT, ONE_ACTION, selector(eventName__NotEquals=["CreateCliToken"])),
            {},
            id="one action and all others",
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(eventName__Equals=NAMES)), {"mwaa_data_events_by_name": "low"}, id="by name"
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(eventName__StartsWith=["Create", "Invoke"])),
            {"mwaa_data_events_by_name": "low"},
            id="by beginning",
        ),
        pytest.param(advanced(MANAGEMENT, selector(eventName__StartsWith=["Create"])), NARROWED, id="tokens only"),
        pytest.param(advanced(MANAGEMENT, selector(eventName__NotEndsWith=["Token"])), NARROWED, id="no tokens"),
        pytest.param(advanced(MANAGEMENT, selector(readOnly__Equals=["true"])), NARROWED, id="reads"),
        pytest.param(
            advanced(MANAGEMENT, selector(readOnly__Equals=["false"])),
            {"mwaa_data_events_only_write": "medium"},
            id="writes",
        ),
        pytest.param(advanced(MANAGEMENT, selector(resources_dot_ARN__Equals=[ORDERS])), PARTLY, id="one environment"),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_ARN__StartsWith=[ORDERS[:37]])), PARTLY, id="one Region"
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_ARN__StartsWith=["arn:aws:airflow:"])), {}, id="every ARN"
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_ARN__EndsWith=["/orders"])), PARTLY, id="one name everywhere"
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_ARN__NotEndsWith=["-dev"])), PARTLY, id="all but one kind"
        ),
        pytest.param(
            advanced(
                MANAGEMENT,
                selector(resources_dot_ARN__NotEndsWith=["-dev"]),
                selector(resources_dot_ARN__EndsWith=["-dev"]),
            ),
            {},
            id="one kind and the others",
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_ARN__NotStartsWith=["arn:aws:s3:::"])),
            {},
            id="ARN that no environment has",
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_ARN__StartsWith=["arn:aws-cn:airflow:"])),
            MISSING,
            id="other partition",
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(resources_dot_ARN__Equals=[ORDERS], eventName__Equals=["InvokeRestApi"])),
            NARROWED,
            id="one environment, one action",
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(eventSource__Equals=["airflow.amazonaws.com"])), {}, id="by event source"
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(userIdentity_dot_arn__NotStartsWith=["arn:aws:sts::111122223333:"])),
            NARROWED,
            id="not everybody",
        ),
        pytest.param(
            advanced(MANAGEMENT, selector(sessionCredentialFromConsole__NotEquals=["true"])),
            NARROWED,
            id="not from the console",
        ),
        pytest.param(advanced(MANAGEMENT, selector(eventName__Matches=["*"])), MISSING, id="an operator of the future"),
        pytest.param(
            advanced(
                MANAGEMENT,
                selector(eventName__Equals=["InvokeRestApi"], eventName__StartsWith=["Create"], readOnly__Equals=["x"]),
            ),
            MISSING,
            id="a condition that nothing fulfils",
        ),
    ],
)
def test_event_selectors(answer, expected):
    findings = check(selectors=answer)
    assert codes(findings) == expected

    # The command of every finding mends all of them and loses nothing else.
    for finding in findings:
        mended = advanced(*json.loads(shlex.split(finding.fix)[-1]))
        assert check(selectors=mended) == []


def test_arns_of_a_trail_of_one_region_and_account():
    here = selector(resources_dot_ARN__StartsWith=[ORDERS.removesuffix("orders")])
    answer = advanced(MANAGEMENT, here)
    assert codes(check({"IsMultiRegionTrail": False, "IsOrganizationTrail": False}, selectors=answer)) == {
        "not_multi_region": "medium",
        "not_organization_trail": "low",
    }
    assert "mwaa_environments_partly_covered" in codes(check({"IsMultiRegionTrail": False}, selectors=answer))


def test_the_fix_keeps_other_selectors():
    s3 = {"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::example/"]}
    functions = {"Type": "AWS::Lambda::Function", "Values": ["arn:aws:lambda"]}
    (finding,) = check(selectors=basic(ReadWriteType="All", DataResources=[s3, functions]))
    command = shlex.split(finding.fix)
    assert command[:7] == [
        "aws", "cloudtrail", "put-event-selectors", "--region", "eu-west-1", "--trail-name", "audit",
    ]  # fmt: skip
    kept = [{c["Field"]: c for c in selector["FieldSelectors"]} for selector in json.loads(command[-1])]
    assert [fields.get("resources.type", {}).get("Equals") for fields in kept] == [
        None,
        ["AWS::S3::Object"],
        ["AWS::Lambda::Function"],
        [TYPE],
    ]
    assert kept[1]["resources.ARN"]["StartsWith"] == ["arn:aws:s3:::example/"]
    assert "resources.ARN" not in kept[2]


def test_narrowed_says_what_is_lost_and_why():
    (finding,) = check(selectors=advanced(MANAGEMENT, ONE_ACTION))
    assert "CreateWebLoginToken (UI logins), InvokeRestApi (REST API calls)" in finding.problem
    assert "eventName Equals CreateCliToken" in finding.problem


def test_what_is_said_to_be_covered_is_covered():
    """Random conditions on ARNs: "all" and "none" hold for every environment; "some" may be too careful."""
    dice = random.Random(5)
    regions, accounts = ("eu-west-1", "eu-west-2", "us-east-1"), ("111122223333", "444455556666")
    names = ("a", "ab", "a-dev", "b-dev", "orders")
    arns = [f"arn:aws:airflow:{place[0]}:{place[1]}:environment/{place[2]}"
            for place in itertools.product(regions, accounts, names)]  # fmt: skip
    cut = {
        "Equals": lambda arn: arn,
        "StartsWith": lambda arn: arn[: dice.choice((10, 16, 20, 26, 30, 40, 60))],
        "EndsWith": lambda arn: arn[-dice.choice((1, 2, 3, 5, 8, 16, 20)) :],
    }
    said = set()
    for _ in range(500):
        selectors = []
        for _ in range(dice.randint(1, 3)):
            operator = dice.choice(list(cut))
            values = [cut[operator](dice.choice(arns)) for _ in range(dice.randint(1, 2))]
            selectors.append(selector(**{f"resources_dot_ARN__{dice.choice(('', 'Not'))}{operator}": values}))
        parsed = [parse(found) for found in selectors]
        matched = {
            any(all(c.accepts(arn) for c in conditions if c.field == "resources.ARN") for conditions in parsed)
            for arn in arns
        }
        found = codes(check(selectors=advanced(MANAGEMENT, *selectors)))
        said.update(found or {"covered": None})
        assert found or matched == {True}
        assert found != MISSING or matched == {False}
    assert {"covered", *PARTLY} <= said


def test_many_values_are_decided_in_time():
    """CloudTrail accepts 500 values for all conditions of a trail."""
    names = [f"environment/e{number}" for number in range(245)]
    one = selector(resources_dot_ARN__EndsWith=names)
    others = selector(resources_dot_ARN__NotEndsWith=names)
    assert check(selectors=advanced(MANAGEMENT, one, others)) == []
