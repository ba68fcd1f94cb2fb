"""dlt doing only the load: its rest_api source reads the same feeds and merges them into the same kind of database.

It runs in an environment of its own, so it imports nothing of the program but the stopwatch. Look-ups by id and the
ledger's balance are left out: they belong to what the program does beyond a load.

    python -m benchmarks.peer STORE STARTS ORIGIN FOLDER
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from benchmarks.measure import Meter

FOLDER = Path(sys.argv[4])
os.environ |= {
    "DLT_DATA_DIR": str(FOLDER),
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}
if sys.argv[1].startswith("sqlite"):
    os.environ["LOAD__WORKERS"] = "1"  # several lock one another out of the file

warnings.simplefilter("ignore")  # about its own use of SQLAlchemy
import dlt  # type: ignore[import-not-found]  # noqa: E402 - in an environment of its own; reads its settings on import
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found]  # noqa: E402 - the same

KEYS = {"Divisions": "Code", "Deleted": "Timestamp"}


def resources(starts: list[str]) -> list[dict[str, Any]]:
    """One per endpoint. What is read by an endpoint twice goes into the same table."""
    found: list[dict[str, Any]] = []
    for number, start in enumerate(starts):
        path, _, query = start.partition("?")
        params = dict(parse_qsl(query))
        name = path.rpartition("/")[2]
        if "ID eq" in params.get("$filter", "") or name == "ReportingBalance":
            continue
        found.append(
            {
                "name": f"{name}_{number}",
                "table_name": name,
                "primary_key": KEYS.get(name, "ID"),
                "write_disposition": "merge",
                "endpoint": {"path": path.lstrip("/"), "params": params, "data_selector": "d.results"},
            }
        )
    return found


def main() -> None:
    store, starts, origin = sys.argv[1:4]
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{origin}/",
                "headers": {"Authorization": "Bearer access", "Accept": "application/json"},
                "paginator": {"type": "json_link", "next_url_path": "d.__next"},
            },
            "resources": resources(Path(starts).read_text().splitlines()),
        },
        name="exact",
    )
    kind = dlt.destinations.sqlalchemy if store.startswith("sqlite") else dlt.destinations.postgres
    pipeline = dlt.pipeline(
        "load", destination=kind(store), dataset_name="main" if store.startswith("sqlite") else "books"
    )
    meter = Meter()
    pipeline.run(source).raise_on_failed_jobs()
    print(meter.read())


if __name__ == "__main__":
    main()
