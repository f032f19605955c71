"""All that a warehouse is: tables, transactions, bulk loads. Imports no CloudTrail grammar and no Airflow."""
