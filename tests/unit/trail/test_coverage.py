"""Findings about a trail, from answers of the API as they are documented."""

from __future__ import annotations

import itertools
import json
import random
import shlex
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail.coverage import (
    NO_SUCH_BUCKET,
    SEVERITIES,
    TrailSettings,
    Unanswered,
    at_or_above,
    check_coverage,
    table,
)
from airflow_provider_cloudtrail.trail.event_selectors import Reach, as_advanced, parse, reach

NOW = datetime(2026, 2, 3, 10, 0, tzinfo=timezone.utc)
YEAR = timedelta(days=365)
TYPE = "AWS::MWAA::Environment"
ORDERS = "arn:aws:airflow:eu-west-1:111122223333:environment/orders"
GOOD_TRAIL = {
    "Name": "audit",
    "S3BucketName": "example-trail",
    "TrailARN": "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit",
    "HomeRegion": "eu-west-1",
    "IsMultiRegionTrail": True,
    "IsOrganizationTrail": True,
    "LogFileValidationEnabled": True,
    "KmsKeyId": "arn:aws:kms:eu-west-1:111122223333:key/k",
    "SnsTopicARN": "arn:aws:sns:eu-west-1:111122223333:audit",
}
GOOD_STATUS = {
    "IsLogging": True,
    "StartLoggingTime": NOW - timedelta(days=90),
    "LatestDeliveryTime": NOW - timedelta(minutes=5),
    "LatestDigestDeliveryTime": NOW - timedelta(minutes=50),
}
GOOD_BLOCK = {
    "PublicAccessBlockConfiguration": dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
}


def selector(category="Data", /, **conditions):
    """Return an advanced selector; ``eventName__Equals=[...]``, a dot in a field is ``_dot_``."""
    fields = {"eventCategory": {"Equals": [category]}}
    if category == "Data":
        fields["resources.type"] = {"Equals": [TYPE]}
    for name, values in conditions.items():
        field, _, operator = name.partition("__")
        fields.setdefault(field.replace("_dot_", "."), {})[operator] = values
    return {"FieldSelectors": [{"Field": field, **operators} for field, operators in fields.items()]}


MANAGEMENT = selector("Management")
DATA = selector()


def advanced(*selectors):
    return {"AdvancedEventSelectors": list(selectors)}


def basic(**members):
    return {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, **members}]}


def settings(trail=None, status=None, **answers):
    good = {
        "selectors": advanced(MANAGEMENT, DATA),
        "public_access_block": GOOD_BLOCK,
        "versioning": {"Status": "Enabled"},
        "lifecycle": {},
    }
    return TrailSettings({**GOOD_TRAIL, **(trail or {})}, {**GOOD_STATUS, **(status or {})}, **{**good, **answers})


def check(*arguments, retention=YEAR, **answers):
    return check_coverage(settings(*arguments, **answers), retention, NOW)


def codes(findings):
    return {finding.code: finding.severity for finding in findings}


def test_nothing_is_wrong_with_a_good_trail():
    assert check() == []


def test_a_new_trail_without_any_setting():
    findings = check_coverage(
        TrailSettings(
            {key: GOOD_TRAIL[key] for key in ("Name", "S3BucketName", "TrailARN")},
            {"IsLogging": False},
            {},
            {},
            {},
            {},
        ),
        YEAR,
        NOW,
    )
    assert codes(findings) == {
        "logging_off": "high",
        "log_file_validation_off": "high",
        "mwaa_data_events_missing": "high",
        "not_multi_region": "medium",
        "public_access_not_blocked": "medium",
        "versioning_off": "medium",
        "not_organization_trail": "low",
        "no_kms_key": "low",
        "no_sns_topic": "low",
    }
    assert [finding.severity for finding in findings] == sorted(codes(findings).values(), key=SEVERITIES.index)
    by_code = {finding.code: finding for finding in findings}
    assert by_code["logging_off"].fix == "aws cloudtrail start-logging --region eu-west-1 --name audit"
    assert by_code["log_file_validation_off"].fix.endswith("--name audit --enable-log-file-validation")
    assert by_code["versioning_off"].fix.startswith("aws s3api put-bucket-versioning --bucket example-trail ")
    assert "basic event selectors, which cannot" in by_code["mwaa_data_events_missing"].problem
    assert all(finding.reason and finding.fix for finding in findings)


# -- event selectors -------------------------------------------------------------------------------

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


def test_basic_selectors_without_values_record_no_data_events():
    answer = basic(DataResources=[{"Type": "AWS::S3::Object", "Values": []}])
    assert len(as_advanced(answer)) == 1


# -- status ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({"IsLogging": False, "StopLoggingTime": NOW}, {"logging_off": "high"}, id="stopped"),
        pytest.param({"LatestDeliveryError": "AccessDenied"}, {"delivery_error": "high"}, id="delivery"),
        pytest.param({"LatestDigestDeliveryError": "NoSuchBucket"}, {"digest_delivery_error": "high"}, id="digest"),
        pytest.param({"LatestNotificationError": "AuthorizationError"}, {"notification_error": "medium"}, id="sns"),
        pytest.param({"LatestDeliveryTime": NOW - timedelta(hours=25)}, {"delivery_too_old": "medium"}, id="old"),
        pytest.param(
            {"LatestDigestDeliveryTime": NOW - timedelta(hours=4)}, {"digest_delivery_too_old": "high"}, id="old digest"
        ),
        pytest.param(
            {"LatestDeliveryTime": None, "LatestDigestDeliveryTime": None},
            {"delivery_too_old": "medium", "digest_delivery_too_old": "high"},
            id="never",
        ),
        pytest.param(
            {
                "LatestDeliveryTime": None,
                "LatestDigestDeliveryTime": None,
                "StartLoggingTime": NOW - timedelta(hours=1),
            },
            {},
            id="just switched on",
        ),
    ],
)
def test_status(status, expected):
    assert codes(check({}, status)) == expected


def test_a_trail_without_validation_owes_no_digests():
    expected = {"log_file_validation_off": "high"}
    assert codes(check({"LogFileValidationEnabled": False}, {"LatestDigestDeliveryTime": None})) == expected


# -- bucket ----------------------------------------------------------------------------------------

SHORT = {"lifecycle_shorter_than_retention": "high"}


def rule(**members):
    return {"Rules": [{"ID": "tidy", "Status": "Enabled", "Filter": {}, **members}]}


@pytest.mark.parametrize(
    ("lifecycle", "expected"),
    [
        pytest.param(rule(Expiration={"Days": 90}), SHORT, id="everything"),
        pytest.param(rule(Expiration={"Days": 364}), SHORT, id="a day too short"),
        pytest.param(rule(Expiration={"Days": 365}), {}, id="long enough"),
        pytest.param(rule(Expiration={"Days": 90}, Status="Disabled"), {}, id="disabled"),
        pytest.param({"Rules": [{"Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}]}, SHORT, id="old form"),
        pytest.param(rule(Filter={"Prefix": "team/AWS"}, Expiration={"Days": 90}), SHORT, id="filter"),
        pytest.param(rule(Filter={"Prefix": "other/"}, Expiration={"Days": 90}), {}, id="other prefix"),
        pytest.param(rule(Filter={"Prefix": "AWSLogs/"}, Expiration={"Days": 90}), {}, id="of another trail"),
        pytest.param(
            rule(Filter={"Prefix": "team/AWSLogs/o-example/444455556666/CloudTrail-Digest/"}, Expiration={"Days": 90}),
            SHORT,
            id="digests of an account of the organization",
        ),
        pytest.param(
            rule(Filter={"Prefix": "team/AWSLogs/111122223333/vpcflowlogs/"}, Expiration={"Days": 90}),
            {},
            id="logs of another service",
        ),
        pytest.param(
            rule(Filter={"And": {"Prefix": "team/", "ObjectSizeGreaterThan": 100}}, Expiration={"Days": 90}),
            SHORT,
            id="prefix and size",
        ),
        pytest.param(
            rule(Filter={"Tag": {"Key": "keep", "Value": "no"}}, Expiration={"Days": 90}),
            {"lifecycle_shorter_than_retention": "low"},
            id="tag",
        ),
        pytest.param(rule(Expiration={"Date": datetime(2026, 1, 1, tzinfo=timezone.utc)}), SHORT, id="date"),
        pytest.param(rule(Expiration={"ExpiredObjectDeleteMarker": True}), {}, id="delete markers"),
        pytest.param(rule(Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]), {}, id="transition"),
        pytest.param(
            rule(NoncurrentVersionExpiration={"NoncurrentDays": 30}),
            {"noncurrent_versions_shorter_than_retention": "medium"},
            id="old versions",
        ),
        pytest.param(rule(NoncurrentVersionExpiration={"NoncurrentDays": 400}), {}, id="old versions, long enough"),
        pytest.param({"Rules": []}, {}, id="no rules"),
    ],
)
def test_lifecycle(lifecycle, expected):
    findings = check({"S3KeyPrefix": "team"}, lifecycle=lifecycle)
    assert codes(findings) == expected
    for finding in findings:
        command = shlex.split(finding.fix)
        assert command[2:5] == ["put-bucket-lifecycle-configuration", "--bucket", "example-trail"]
        assert check({"S3KeyPrefix": "team"}, lifecycle=json.loads(command[-1])) == []


def test_lifecycle_rules_of_a_trail_of_one_account():
    for account, expected in (("111122223333", SHORT), ("444455556666", {})):
        answer = rule(Filter={"Prefix": f"AWSLogs/{account}/CloudTrail/"}, Expiration={"Days": 90})
        findings = check({"IsOrganizationTrail": False}, lifecycle=answer)
        assert codes(findings) == {"not_organization_trail": "low", **expected}


def test_rules_that_are_no_fault_stay_as_they_are():
    other = {"ID": "other", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}
    (finding,) = check(lifecycle={"Rules": [other, *rule(Expiration={"Days": 5})["Rules"]]})
    mended = json.loads(shlex.split(finding.fix)[-1])["Rules"]
    assert mended[0] == other
    assert mended[1]["Expiration"] == {"Days": 365}


def test_a_retention_of_part_of_a_day():
    assert codes(check(lifecycle=rule(Expiration={"Days": 7}), retention=timedelta(days=7, hours=1))) == SHORT


def test_public_access_block_with_a_hole():
    block = {"PublicAccessBlockConfiguration": {**GOOD_BLOCK["PublicAccessBlockConfiguration"], "BlockPublicPolicy": 0}}
    (finding,) = check(public_access_block=block)
    assert (finding.code, finding.severity) == ("public_access_not_blocked", "medium")
    assert "BlockPublicPolicy not set" in finding.problem


def test_suspended_versioning():
    (finding,) = check(versioning={"Status": "Suspended"})
    assert finding.problem == "versioning of bucket example-trail is suspended"


@pytest.mark.parametrize(
    ("answer", "permission", "code", "severity"),
    [
        ("public_access_block", "s3:GetBucketPublicAccessBlock", "public_access_block_not_checked", "low"),
        ("versioning", "s3:GetBucketVersioning", "versioning_not_checked", "low"),
        ("lifecycle", "s3:GetLifecycleConfiguration", "lifecycle_configuration_not_checked", "low"),
        ("selectors", "cloudtrail:GetEventSelectors", "event_selectors_not_checked", "high"),
    ],
)
def test_a_refused_request(answer, permission, code, severity):
    (finding,) = check(**{answer: Unanswered(permission, "AccessDenied")})
    assert (finding.code, finding.severity) == (code, severity)
    assert "could not be checked: AccessDenied" in finding.problem
    assert permission in finding.fix


def test_a_refused_status():
    found = TrailSettings(**{**settings().__dict__, "status": Unanswered("cloudtrail:GetTrailStatus", "AccessDenied")})
    assert codes(check_coverage(found, YEAR, NOW)) == {"status_not_checked": "high"}


def test_a_bucket_that_is_gone():
    gone = Unanswered("s3:ListBucket", NO_SUCH_BUCKET)
    assert codes(check(public_access_block=gone, versioning=gone, lifecycle=gone)) == {"bucket_missing": "high"}


# -- findings --------------------------------------------------------------------------------------


def test_at_or_above():
    findings = check({"LogFileValidationEnabled": False, "IsMultiRegionTrail": False, "KmsKeyId": None})
    numbers = [len(at_or_above(findings, severity)) for severity in (None, "high", "medium", "low")]
    assert numbers == [0, 1, 2, 3]


def test_table_shows_every_finding():
    findings = check({"LogFileValidationEnabled": False, "KmsKeyId": None})
    text = table(findings)
    assert all(text.count(part) == 1 for f in findings for part in (f.code, f.problem, f.reason, f.fix))
