"""Airflow sensors of the CloudTrail provider."""
