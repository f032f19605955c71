"""What an export of a synthetic trail must find, computed from the plan and not by the code under test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from airflow_provider_cloudtrail.demo.layout import PlannedFile, layout
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.records import MWAA, MWAA_SERVERLESS, Concerns, Planted

_SOURCES = (MWAA.encode(), MWAA_SERVERLESS.encode())


@dataclass(frozen=True)
class ExpectedFile:
    """
    What the ledger must say of a log file.

    :param status: ``loaded``, ``no_match`` or ``quarantined``.
    :param code: reason code of a file in quarantine.
    :param records: records in it; None: it is not parsed.
    :param selected: of these, wanted and good.
    :param quarantined: reason codes of records in quarantine, by their position.
    """

    status: str
    code: str | None = None
    records: int | None = None
    selected: int = 0
    quarantined: dict[int, str] = field(default_factory=dict)

    @property
    def filtered(self) -> int | None:
        """Records that are not wanted; None: it is not parsed."""
        return None if self.records is None else self.records - self.selected - len(self.quarantined)


@dataclass(frozen=True)
class Expected:
    """
    What the three tables must hold after an export of a whole trail.

    :param files: what the ledger must say, by key.
    :param events: the wanted events that were planted, by eventID, each once. Those without eventID are
        in ``nameless``; with ``all_events``, background records come on top.
    :param nameless: bodies of the planted events that have no eventID.
    :param rows: number of rows of the audit table.
    :param duplicates: eventIDs that occur more than once in good files.
    :param secrets: texts that must not occur anywhere.
    """

    files: dict[str, ExpectedFile]
    events: dict[str, Planted]
    nameless: frozenset[bytes]
    rows: int
    duplicates: frozenset[str]
    secrets: frozenset[str]

    @property
    def selected(self) -> int:
        """Wanted records in all files, duplicates included."""
        return sum(file.selected for file in self.files.values())

    @property
    def redacted(self) -> int:
        """Secret values in the rows of the audit table."""
        return sum(event.redacted for event in self.events.values())

    @property
    def quarantined_files(self) -> dict[str, str]:
        """Reason codes of the files in quarantine, by key."""
        return {key: file.code for key, file in self.files.items() if file.code is not None}

    @property
    def quarantined_records(self) -> dict[tuple[str, int], str]:
        """Reason codes of the records in quarantine, by key and position."""
        return {(key, index): code for key, file in self.files.items() for index, code in file.quarantined.items()}


def expected(plan: TrailPlan, *, activity: bool = False, all_events: bool = False) -> Expected:
    """
    Return what an export of a trail must find.

    :param activity: for an export with ``include_environment_activity``.
    :param all_events: for an export with ``event_sources=None``.
    """
    wanted = set(Concerns) if all_events else {Concerns.MWAA} | ({Concerns.ACTIVITY} if activity else set())
    files: dict[str, ExpectedFile] = {}
    events: dict[str, Planted] = {}
    nameless: set[bytes] = set()
    rows = 0
    seen: Counter[str] = Counter()
    secrets: set[str] = set()
    for planned in (file for files_of_place in layout(plan).values() for file in files_of_place):
        found = list(_wanted(planned, wanted))
        secrets.update(secret for planted in planned.planted.values() for secret in planted.secrets)
        files[planned.key] = file = _file(planned, len(found), all_events, activity)
        if all_events:
            file = files[planned.key] = _with_background(planned, file)
            rows += planned.background if file.code is None else 0
        if file.code is not None:
            continue
        for planted in found:
            if planted.event_id is None:
                nameless.add(planted.body)
            else:
                events[planted.event_id] = planted
                seen[planted.event_id] += 1
    duplicates = frozenset(event_id for event_id, times in seen.items() if times > 1)
    return Expected(
        files, events, frozenset(nameless), rows + len(events) + len(nameless), duplicates, frozenset(secrets)
    )


def _wanted(file: PlannedFile, wanted: set[Concerns]) -> Iterator[Planted]:
    return (planted for planted in file.planted.values() if planted.fault is None and planted.concerns in wanted)


def _file(file: PlannedFile, selected: int, all_events: bool, activity: bool) -> ExpectedFile:
    if file.fault is not None:
        return ExpectedFile("quarantined", file.fault.code)
    parsed = all_events or any(_names_mwaa(planted, activity) for planted in file.planted.values())
    if not parsed:
        return ExpectedFile("no_match")
    faults = {index: planted.fault for index, planted in file.planted.items() if planted.fault is not None}
    return ExpectedFile("loaded", None, file.records, selected, faults)


def _names_mwaa(planted: Planted, activity: bool) -> bool:
    """Tell whether a file with this record is parsed: MWAA may be named by a record that is not wanted."""
    return (
        planted.concerns is Concerns.MWAA
        or (activity and planted.concerns is Concerns.ACTIVITY)
        or any(source in planted.body for source in _SOURCES)
    )


def _with_background(planned: PlannedFile, file: ExpectedFile) -> ExpectedFile:
    if file.records is None:
        return file
    return ExpectedFile("loaded", None, file.records, file.selected + planned.background, file.quarantined)
