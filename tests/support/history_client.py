"""LookupEvents without HTTP in between: what is sent and given is what goes over the wire."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from tests.support.event_history import EventHistoryStandIn, RefusalError


class KilledError(BaseException):
    """Ends a run as kill -9 does: nothing of it handles this."""


class HistoryClient:
    """
    A client of a Region.

    :param kill_at: how many requests the service has had when the process ends; None: it does not.
    """

    def __init__(self, stand_in: EventHistoryStandIn, region: str, kill_at: int | None = None) -> None:
        self.stand_in = stand_in
        self.region = region
        self.kill_at = kill_at

    def lookup_events(self, **request: Any) -> dict[str, Any]:
        from botocore.exceptions import ClientError, ReadTimeoutError

        if self.kill_at is not None and len(self.stand_in.asked) >= self.kill_at:
            raise KilledError
        times = {name: request[name].timestamp() for name in ("StartTime", "EndTime")}
        try:
            answer = self.stand_in.lookup_events(self.region, json.loads(json.dumps(request | times)), "key", "agent")
        except RefusalError as refusal:
            described: Any = {
                "Error": {"Code": refusal.code},
                "ResponseMetadata": {"HTTPStatusCode": refusal.status},
            }
            raise ClientError(described, "LookupEvents") from None
        if answer is None:
            raise ReadTimeoutError(endpoint_url="https://cloudtrail.example")
        return {
            **answer,
            "Events": [
                found | {"EventTime": datetime.fromtimestamp(found["EventTime"], timezone.utc)}
                for found in answer["Events"]
            ],
        }
