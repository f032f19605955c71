"""A trail's bucket that tells a queue of its new log files, in a real S3, SNS and SQS API."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timezone
from typing import Any

import boto3

from tests.support.log_files import event, key_of, log_bytes

REGION = "eu-west-1"
_numbers = itertools.count()


def stamp_now() -> str:
    """Return the stamp of a log file that is delivered now."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%MZ}"


class Delivery:
    """
    A bucket whose new objects are told to a topic, and the topic's queue with a dead-letter queue.

    :param hidden_seconds: a message that was received and is not deleted comes again so long afterwards.
    :param receptions: it moves to the dead-letter queue when it was received so often.
    """

    def __init__(self, endpoint: str, *, hidden_seconds: int = 300, receptions: int = 1_000) -> None:
        session = boto3.Session(aws_access_key_id="example", aws_secret_access_key="example", region_name=REGION)
        self.s3, self.sns, self.sqs = (session.client(name, endpoint_url=endpoint) for name in ("s3", "sns", "sqs"))
        number = next(_numbers)
        self.bucket = f"told-trail-{number}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.topic = self.sns.create_topic(Name=f"deliveries-{number}")["TopicArn"]
        self.dead = self.sqs.create_queue(QueueName=f"dead-{number}")["QueueUrl"]
        self.queue = self.sqs.create_queue(
            QueueName=f"log-files-{number}",
            Attributes={
                "VisibilityTimeout": str(hidden_seconds),
                "RedrivePolicy": json.dumps({
                    "deadLetterTargetArn": self.arn(self.dead),
                    "maxReceiveCount": str(receptions),
                }),
            },
        )["QueueUrl"]
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=self.arn(self.queue))
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={
                "TopicConfigurations": [{"TopicArn": self.topic, "Events": ["s3:ObjectCreated:*"]}]
            },
        )

    def arn(self, queue: str) -> str:
        return self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def deliver(self, *keys: str) -> list[str]:
        for key in keys:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"x")
        return [f"s3://{self.bucket}/{key}" for key in keys]

    def send(self, body: Any) -> None:
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body if isinstance(body, str) else json.dumps(body))

    def left(self, queue: str | None = None) -> int:
        """Return the number of messages, those that somebody has received included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def put(self, event_id: str, stamp: str) -> None:
        """Deliver a log file with one event."""
        key = key_of(stamp, unique=event_id.replace("-", "").ljust(16, "x"))
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=log_bytes(event(event_id)))
