"""Apache Airflow provider that turns AWS CloudTrail into an audit table.

This module and ``get_provider_info`` import nothing of Airflow: Airflow 3.3 discovers providers while
it reads its configuration, and an import of Airflow from here would end in a circular import.
"""

from __future__ import annotations

# Literal, not read from the distribution's metadata: a package copied to a DAG folder has none.
__version__ = "0.1.0"
