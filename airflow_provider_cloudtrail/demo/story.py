"""
What happens in the organization: two environments, the people around them, and a few bad days.

``orders`` is the environment of the first account, ``reporting`` of the second; the third runs a
workflow of MWAA Serverless. In smaller trails they share accounts and Regions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_cloudtrail.demo import mwaa
from airflow_provider_cloudtrail.demo.callers import Caller, cast
from airflow_provider_cloudtrail.demo.oddities import count, oddities, unreadable
from airflow_provider_cloudtrail.demo.plan import Fault, TrailPlan
from airflow_provider_cloudtrail.demo.records import Planted, Stage, iso

_DUPLICATES = 0.05
_BUSY_HOURS = (7, 8, 8, 9, 9, 9, 10, 10, 11, 12, 13, 13, 14, 14, 15, 15, 16, 17, 19, 22)
_WORKFLOW = (
    "CreateWorkflow",
    "StartWorkflowRun",
    "GetWorkflowRun",
    "ListTaskInstances",
    "UpdateWorkflow",
    "StopWorkflowRun",
)
# Who does what and how often, and how it fails when it does.
_TOKENS = (("dana", 3), ("lee", 6), ("kim", 4), ("alex", 5), ("sam", 2), ("pipeline", 8))
_REST_CALLS = (
    (12, "uptime", "GET", "/monitor/health", (500, 503)),
    (8, "trigger", "POST", "/dags/daily_orders/dagRuns", (409, 500)),
    (5, "trigger", "GET", "/dags/daily_orders/dagRuns/manual__1", (404,)),
    (3, "lee", "GET", "/dags", (403,)),
    (2, "alex", "PATCH", "/dags/daily_orders", (403, 404)),
    (1, "dana", "POST", "/connections", (400, 409)),
    (1, "lee", "PATCH", "/variables/batch_size", (401, 403)),
    (1, "kim", "DELETE", "/dags/daily_orders/dagRuns/manual__2", (404,)),
)
_FAILING = 0.12


@dataclass(frozen=True)
class Happening:
    """
    Something that ends up in a log file of its own choosing, or in one made for it.

    :param planted: records that are delivered together; in most cases one.
    :param account: account that it happens in.
    :param region: its Region.
    :param delay: from the event to its delivery.
    :param fault: what is wrong with the file.
    :param apart: in a file of its own, as all that is damaged.
    """

    planted: tuple[Planted, ...]
    account: str
    region: str
    delay: timedelta
    fault: Fault | None = None
    apart: bool = False

    @property
    def delivered_at(self) -> datetime:
        """When it is delivered, on the minute."""
        return (self.planted[0].event_time + self.delay).replace(second=0, microsecond=0)


@dataclass(frozen=True)
class _Scene:
    """An environment where it lives, with the people who use it."""

    plan: TrailPlan
    environment: str
    number: int

    @property
    def account(self) -> str:
        return self.plan.account(self.number)

    @property
    def region(self) -> str:
        return self.plan.region(self.number)

    def stage(self, part: str) -> Stage:
        """Return the place for one part of the story, with ids of its own."""
        return Stage(self.account, self.region, self.plan.random(part, self.environment))

    @property
    def opened(self) -> str:
        return iso(self.plan.moment(0, "06:40"))

    @property
    def cast(self) -> dict[str, Caller]:
        return cast(self.account, self.opened)


def happenings(plan: TrailPlan, everyday: int) -> list[Happening]:
    """
    Return all that concerns MWAA, in no order.

    :param everyday: number of ordinary events, beside the story itself.
    """
    rng = plan.random("story")
    scenes = [_Scene(plan, name, number) for number, name in enumerate(("orders", "reporting", "bills"))]
    told: list[Happening] = []
    for scene, events in (
        (scenes[0], _orders(scenes[0])),
        (scenes[1], _reporting(scenes[1])),
        (scenes[2], _bills(scenes[2])),
        (scenes[0], _odd(scenes[0])),
        *((scene, _everyday(scene, everyday // 2)) for scene in scenes[:2]),
        *((scene, _activity(scene, everyday // 6)) for scene in scenes[:2]),
    ):
        told += [Happening((event,), scene.account, scene.region, _delay(rng)) for event in events]
    told = [_late(happening, plan) if rng.random() < 0.01 else happening for happening in told]
    told += [_again(happening, rng) for happening in told if rng.random() < _DUPLICATES]
    first = told[0]
    twice = Happening(first.planted * 2, first.account, first.region, first.delay, apart=True)
    return [*told, twice, *_faults(plan, scenes[1], rng)]


def _delay(rng: random.Random) -> timedelta:
    return timedelta(seconds=int(rng.triangular(60, 600, 170)))


def _late(happening: Happening, plan: TrailPlan) -> Happening:
    """Return the same, delivered in the small hours of the next day, or at the end of the last."""
    event_time = happening.planted[0].event_time
    next_morning = (event_time + timedelta(days=1)).replace(hour=3, minute=20, second=0)
    delivered_at = min(next_morning, plan.end - timedelta(minutes=10))
    if delivered_at <= event_time:
        return happening
    return Happening(happening.planted, happening.account, happening.region, delivered_at - event_time)


def _again(happening: Happening, rng: random.Random) -> Happening:
    """Return the same events once more: another file will hold them, of the same minute or a little later."""
    delay = happening.delay + timedelta(minutes=rng.choice((0, 0, 5, 10)))
    return Happening(happening.planted, happening.account, happening.region, delay)


def _orders(scene: _Scene) -> Iterator[Planted]:
    plan, people, orders = scene.plan, scene.cast, scene.environment
    stage = scene.stage("story")
    yield mwaa.create_environment(stage, plan.moment(0, "08:01:22"), people["lee"], "sandbox", denied=True)
    yield mwaa.create_environment(
        stage, plan.moment(0, "08:01:51"), people["sam"], "sandbox", denied=True, eventVersion="1.05"
    )
    yield mwaa.update_environment(
        stage, plan.moment(0, "08:40:07"), people["dana"], orders, EnvironmentClass="mw1.medium", MaxWorkers=20
    )
    yield mwaa.tag(stage, plan.moment(0, "08:41:30"), people["dana"], orders)
    for second in range(3):
        moment = plan.moment(0, f"09:12:0{second}")
        yield mwaa.create_token(stage, moment, people["sam"], orders, "CreateCliToken", denied=True)
    yield mwaa.create_token(stage, plan.moment(0, "21:47:16"), people["root"], orders, "CreateWebLoginToken")
    yield mwaa.rest_call(stage, plan.moment(0, "21:48:40"), people["root"], orders, "GET", "/connections")
    yield mwaa.update_environment(
        stage, plan.moment(1, "09:30:00"), people["sam"], orders, WebserverAccessMode="PUBLIC_ONLY"
    )
    logging = {"TaskLogs": {"Enabled": False, "LogLevel": "CRITICAL"}}
    yield mwaa.update_environment(
        stage, plan.moment(1, "09:55:12"), people["sam"], orders, LoggingConfiguration=logging
    )
    yield mwaa.update_environment(
        stage, plan.moment(1, "10:20:45"), people["dana"], orders, WebserverAccessMode="PRIVATE_ONLY"
    )
    # Recorded as before 2022-05-22: with the secrets in it.
    for action in ("CreateCliToken", "CreateWebLoginToken"):
        yield mwaa.create_token(stage, plan.moment(0, "12:05:05"), people["lee"], orders, action, in_clear_text=True)
    yield mwaa.rest_call(
        stage, plan.moment(0, "12:06:31"), people["dana"], orders, "POST", "/connections", in_clear_text=True
    )


def _reporting(scene: _Scene) -> Iterator[Planted]:
    plan, people, reporting = scene.plan, scene.cast, scene.environment
    stage = scene.stage("story")
    yield mwaa.create_environment(stage, plan.moment(0, "07:15:00"), people["pipeline"], reporting)
    yield mwaa.tag(stage, plan.moment(0, "07:45:10"), people["pipeline"], reporting)
    yield mwaa.tag(stage, plan.moment(0, "07:46:00"), people["kim"], reporting, remove=True)
    yield mwaa.create_environment(stage, plan.moment(0, "10:10:10"), people["pipeline"], "reporting-test")
    yield mwaa.create_token(
        stage, plan.moment(0, "15:33:33"), people["lee"], reporting, "CreateWebLoginToken", denied=True
    )
    yield mwaa.delete_environment(stage, plan.moment(1, "16:00:59"), people["dana"], "reporting-test")
    # The last minutes of the trail are delivered after its last midnight.
    yield mwaa.create_token(stage, plan.moment(1, "23:57:40"), people["alex"], reporting, "CreateWebLoginToken")


def _bills(scene: _Scene) -> Iterator[Planted]:
    people, stage = scene.cast, scene.stage("story")
    for number, action in enumerate(_WORKFLOW):
        caller = people["kim" if number % 2 == 0 else "dana"]
        moment = scene.plan.moment(1, f"10:{20 + number}:30")
        yield mwaa.serverless(stage, moment, caller, action, scene.environment)


def _odd(scene: _Scene) -> Iterator[Planted]:
    start = scene.plan.moment(0, "13:00")
    moments = [start + timedelta(minutes=7 * number, seconds=number) for number in range(count())]
    return oddities(scene.stage("odd"), moments, scene.environment)


def _moments(scene: _Scene, rng: random.Random, number: int) -> Iterator[datetime]:
    for _ in range(number):
        start = scene.plan.moment(rng.randrange(scene.plan.days), "00:00")
        yield start + timedelta(hours=rng.choice(_BUSY_HOURS), seconds=rng.randrange(3600))


def _everyday(scene: _Scene, number: int) -> Iterator[Planted]:
    people, environment = scene.cast, scene.environment
    stage = scene.stage("everyday")
    rng = stage.rng
    names, weights = zip(*_TOKENS, strict=True)
    for moment in _moments(scene, rng, number):
        if rng.random() < 0.35:
            caller = people[rng.choices(names, weights)[0]]
            cli = caller is people["pipeline"] or rng.random() < 0.2
            action = "CreateCliToken" if cli else "CreateWebLoginToken"
            yield mwaa.create_token(stage, moment, caller, environment, action)
        else:
            _, who, method, path, failures = rng.choices(_REST_CALLS, [call[0] for call in _REST_CALLS])[0]
            status = rng.choice(failures) if rng.random() < _FAILING else 200
            yield mwaa.rest_call(stage, moment, people[who], environment, method, path, status)


def _activity(scene: _Scene, number: int) -> Iterator[Planted]:
    stage = scene.stage("activity")
    moments = _moments(scene, stage.rng, number)
    return mwaa.environment_activity(stage, scene.environment, scene.opened, moments, denied_decrypt=True)


def _faults(plan: TrailPlan, scene: _Scene, rng: random.Random) -> Iterator[Happening]:
    """Yield a file for each fault: a token that is minted, and what is wrong beside it or with its file."""
    people = scene.cast
    for number, fault in enumerate(sorted(plan.faults, key=lambda fault: fault.name)):
        stage = scene.stage(fault.name)
        moment = plan.moment(number % plan.days, "11:00") + timedelta(minutes=5 * number)
        token = mwaa.create_token(stage, moment, people["kim"], scene.environment, "CreateWebLoginToken")
        records = [token]
        if fault.of_record:
            records.append(unreadable(stage, moment, people["kim"], scene.environment, fault))
        yield Happening(
            tuple(records),
            stage.account,
            stage.region,
            _delay(rng),
            fault=None if fault.of_record else fault,
            apart=True,
        )
