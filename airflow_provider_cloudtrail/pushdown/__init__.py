"""
The audit table filled by SQL alone: for trails that are too large for any worker to read.

Knows both CloudTrail and SQL, as ``export`` knows both wings, and neither Airflow nor an engine's package:
what runs a statement is handed in. The statements are Athena's (engine version 3, Trino's functions).
"""
