"""All that CloudTrail is: keys, objects, records. Imports neither Airflow nor a warehouse."""
