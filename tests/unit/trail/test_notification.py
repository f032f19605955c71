from __future__ import annotations

import json
from urllib.parse import quote_plus

import pytest

from airflow_provider_cloudtrail.trail.notification import read_notification
from tests.support.log_files import key_of

KEY = key_of("20260203T1000Z", root="audit logs/é+x=1/AWSLogs/")
OTHER = key_of("20260203T1005Z")
DIGEST = (
    "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/02/03/"
    "111122223333_CloudTrail-Digest_eu-west-1_audit_eu-west-1_20260203T100512Z.json.gz"
)
INSIGHT = (
    "AWSLogs/111122223333/CloudTrail-Insight/eu-west-1/2026/02/03/"
    "111122223333_CloudTrail-Insight_eu-west-1_20260203T1000Z_Q1w2E3r4T5y6U7i8.json.gz"
)
TOPIC = {"s3Bucket": "trail", "s3ObjectKey": [KEY, OTHER], "new": "member"}


def s3_event(*keys, event="ObjectCreated:Put"):
    return {
        "Records": [
            {"eventName": event, "s3": {"bucket": {"name": "trail"}, "object": {"key": quote_plus(key, safe="/")}}}
            for key in keys
        ]
    }


def eventbridge(key, detail_type="Object Created"):
    return {"detail-type": detail_type, "detail": {"bucket": {"name": "trail"}, "object": {"key": key}}}


def envelope(message):
    return {"Type": "Notification", "MessageId": "1", "TopicArn": "arn", "Message": json.dumps(message)}


@pytest.mark.parametrize(
    ("message", "keys"),
    [
        pytest.param(TOPIC, [KEY, OTHER], id="topic-raw"),
        pytest.param(envelope(TOPIC), [KEY, OTHER], id="topic-in-envelope"),
        pytest.param({**TOPIC, "s3ObjectKey": KEY}, [KEY], id="topic-one-key"),
        pytest.param({**TOPIC, "s3ObjectKey": [KEY, KEY]}, [KEY], id="the-same-twice"),
        pytest.param({**TOPIC, "s3ObjectKey": []}, [], id="no-key"),
        pytest.param(s3_event(KEY, OTHER), [KEY, OTHER], id="s3"),
        pytest.param(envelope(s3_event(KEY)), [KEY], id="s3-through-sns"),
        pytest.param(s3_event(KEY, event="s3:ObjectCreated:CompleteMultipartUpload"), [KEY], id="s3-prefix"),
        pytest.param(eventbridge(KEY), [KEY], id="eventbridge"),
        pytest.param(envelope(eventbridge(OTHER)), [OTHER], id="eventbridge-through-sns"),
    ],
)
def test_log_files(message, keys):
    found = read_notification(json.dumps(message))
    assert [(file.bucket, file.key) for file in found.files] == [("trail", key) for key in keys]
    assert (found.dropped, found.poison) == ((), None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("CloudTrail validation message.", "validation message", id="validation"),
        pytest.param(
            json.dumps({"Type": "Notification", "Message": "CloudTrail validation message."}), "validation", id="in-sns"
        ),
        pytest.param(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}), "test message", id="s3-test"),
        pytest.param(json.dumps({**TOPIC, "s3ObjectKey": [DIGEST]}), "not a log file: s3://trail/AWSL", id="digest"),
        pytest.param(json.dumps({**TOPIC, "s3ObjectKey": [INSIGHT]}), "not a log file", id="insight"),
        pytest.param(json.dumps(s3_event("reports/2026.csv")), "not a log file: s3://trail/reports", id="foreign"),
        pytest.param(json.dumps(s3_event(KEY, event="ObjectRemoved:Delete")), "ObjectRemoved:Delete", id="removed"),
        pytest.param(json.dumps(eventbridge(KEY, "Object Deleted")), "Object Deleted", id="deleted"),
    ],
)
def test_dropped_on_purpose(body, reason):
    found = read_notification(body)
    assert (found.files, found.poison) == ((), None)
    assert reason in found.dropped[0]


@pytest.mark.parametrize("unfit", ["\ud800", "\x00", "\r", "\x7f"])
@pytest.mark.parametrize("message", [{**TOPIC, "s3ObjectKey": ["{}"]}, eventbridge("{}")], ids=["topic", "eventbridge"])
def test_a_key_that_nothing_behind_the_queue_takes_is_no_log_file(message, unfit):
    """Airflow's triggerer ends, with all that runs in it, if the text of an event is not Unicode."""
    found = read_notification(json.dumps(message).replace("{}", json.dumps(f"{unfit}/{KEY}")[1:-1]))
    assert (found.files, found.poison) == ((), None)
    (reason,) = found.dropped
    assert reason.isascii()
    assert reason.isprintable()


def test_what_is_said_of_a_foreign_message_can_be_logged():
    for message in (s3_event(KEY, event="\ud800\n"), eventbridge(KEY, "\ud800\n")):
        (reason,) = read_notification(json.dumps(message)).dropped
        assert reason.isascii()
        assert reason.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps({**TOPIC, "s3Bucket": "file:///etc"}), id="folder-of-the-worker"),
        pytest.param(json.dumps({**TOPIC, "s3Bucket": "other/folder"}), id="bucket-and-folder"),
        pytest.param(json.dumps({**TOPIC, "s3Bucket": "trail\ud800"}), id="bucket-no-unicode"),
        pytest.param("hello", id="text"),
        pytest.param("", id="empty"),
        pytest.param("[]", id="list"),
        pytest.param("7", id="number"),
        pytest.param("{}", id="no-member"),
        pytest.param(json.dumps({"Records": 1}), id="records-no-list"),
        pytest.param(json.dumps({"Records": [1]}), id="record-no-object"),
        pytest.param(json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}), id="no-bucket"),
        pytest.param(json.dumps({"s3Bucket": "trail", "s3ObjectKey": 5}), id="key-no-text"),
        pytest.param(json.dumps({"s3ObjectKey": [KEY]}), id="topic-no-bucket"),
        pytest.param(json.dumps({"detail-type": "Object Created", "detail": 1}), id="no-detail"),
        pytest.param(json.dumps(envelope(envelope(envelope(envelope(TOPIC))))), id="too-deep"),
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_poison(body):
    found = read_notification(body)
    assert found.files == ()
    assert found.poison
