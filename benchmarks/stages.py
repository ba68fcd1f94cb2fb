"""What a stage of the way costs: processor time of the threads inside chosen functions, each counted in one stage.

Whoever is called from a chosen function and is not chosen belongs to it. What is left of the process's time is the
event loop, httpx and the hand-over to threads.
"""

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any

REST = "event loop, HTTP, threads"
STAGES = {
    "JSON to objects": ("connector.http:Response.json",),
    "items to rows": ("adapters.exactonline.rows:Decoder.page", "adapters.exactonline.cursors:Counted.after"),
    "rows: transaction, cursor": ("connector.reader:Reader._commit",),
    "rows: compare and store": ("connector.store.rows:upsert", "connector.store.rows:remove"),
    "groups: mark, choose, clear": (
        "connector.store.groups:touch",
        "connector.store.groups:touched",
        "connector.store.groups:assembled",
    ),
    "rows: read again": ("connector.store.rows:of_groups",),
    "assembly: rows to records": ("connector.assembly:Assembly._assemble", "connector.assembly:Assembly._produced"),
    "records: compare": (
        "connector.store.records:of_groups",
        "connector.store.records:by_id",
        "connector.assembly:plan",
    ),
    "records: store": ("connector.store.records:write",),
    "records: transaction": ("connector.assembly:Assembly.batch",),
    "outbox: make events": ("connector.assembly:Assembly._event",),
    "outbox: store": ("connector.store.outbox:append",),
    "delivery: claim": ("connector.delivery:Deliverer._claim", "connector.delivery:Deliverer._look"),
    "delivery: mark": ("connector.delivery:Deliverer._settle",),
    "delivery: sign, understand": ("connector.signature:headers", "connector.destinations.webhook:understand"),
    "cycle: mapping": ("connector.runtime:compiled_mapping",),
    "cycle: begin, close, finish": (
        "connector.cycle:Cycle._begin",
        "connector.cycle:Cycle._prepare",
        "connector.closing:Closer._close",
        "connector.store.connections:finish",
    ),
    "tokens": ("connector.store.tokens:TokenStore.get",),
    "call budget": ("connector.store.budget:BudgetStore.take", "connector.store.budget:BudgetStore.told"),
}


class Stages:
    """Counts from `watch` on."""

    def __init__(self) -> None:
        self._local = threading.local()
        self.spent: defaultdict[str, float] = defaultdict(float)

    def watch(self) -> None:
        """Wrap the chosen functions where they are looked up.

        Raises:
            AttributeError: one is not there any more; choose its successor.
        """
        for stage, places in STAGES.items():
            for place in places:
                module, _, path = place.partition(":")
                *outer, name = path.split(".")
                owner = functools.reduce(getattr, outer, import_module(module))
                setattr(owner, name, self._timed(stage, getattr(owner, name)))

    def _timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        local, spent = self._local, self.spent

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            before, outer = time.thread_time(), getattr(local, "inner", 0.0)
            local.inner = 0.0
            try:
                return function(*args, **kwargs)
            finally:
                whole = time.thread_time() - before
                spent[stage] += whole - local.inner
                local.inner = outer + whole

        return timed


def show(spent: dict[str, float], cpu: float, rows: int) -> str:
    """In the order of the way; microseconds are per raw row."""
    costs = {stage: spent.get(stage, 0.0) for stage in STAGES}
    costs[REST] = cpu - sum(costs.values())
    lines = [
        f"{stage:28} {seconds:8.2f} s {100 * seconds / cpu:6.1f} % {1e6 * seconds / rows:8.1f} us/row"
        for stage, seconds in costs.items()
    ]
    return "\n".join([*lines, f"{'all':28} {cpu:8.2f} s {100:6.1f} % {1e6 * cpu / rows:8.1f} us/row"])
