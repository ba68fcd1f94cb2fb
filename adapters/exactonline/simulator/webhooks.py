"""Webhook subscriptions, and deliveries that are hints and nothing more (sheet 10)."""

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx

from adapters.exactonline.simulator.endpoints import Context
from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.world import World
from adapters.simulation.changes import Action, Change, Ids, Subject
from adapters.simulation.ledger import Entry, EntryKind, JournalKind
from connector.clock import Clock

TOPICS = (
    "Accounts", "BankAccounts", "BankEntries", "CashEntries", "Contacts", "DocumentAttachments", "Documents",
    "GLAccounts", "GeneralJournalEntries", "SalesEntries", "SalesInvoices",
)  # fmt: skip
MOST_TRIES = 10
_SUBJECTS = {
    Subject.CUSTOMER: ("Accounts", "crm/Accounts"),
    Subject.CONTACT: ("Contacts", "crm/Contacts"),
    Subject.BANK_ACCOUNT: ("BankAccounts", "crm/BankAccounts"),
    Subject.DOCUMENT: ("Documents", "documents/Documents"),
    Subject.ACCOUNT: ("GLAccounts", "financial/GLAccounts"),
}
_ACTIONS = {Action.ADDED: "Create", Action.REMOVED: "Delete"}
_IDS = 7


@dataclass(slots=True)
class _Delivery:
    url: str
    body: bytes
    due: datetime
    tries: int = 0


class Webhooks:
    """`deliver` sends what is due; a failed delivery is due again after 2, 4, 8 ... minutes, ten times."""

    def __init__(
        self,
        world: World,
        context: Context,
        clock: Clock,
        settings: SimulatorSettings,
        violations: Counter[str],
        *,
        client: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
    ) -> None:
        self._world = world
        self._context = context
        self._clock = clock
        self._settings = settings
        self._violations = violations
        self._client = client
        self._ids = Ids(world.books.seed + _IDS)
        self._waiting: list[_Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        context.topics = TOPICS

    def subscribe(self, wanted: dict[str, Any]) -> dict[str, Any] | None:
        """Register and, about a second later, send the empty POST; None when the topic is taken."""
        topic, url = wanted.get("Topic"), wanted.get("CallbackURL")
        taken = {subscription["Topic"] for subscription in self._context.subscriptions.values()}
        if topic not in TOPICS or not url or topic in taken:
            return None
        subscription = {
            "ID": self._ids.new(),
            "CallbackURL": url,
            "Topic": topic,
            "Division": self._world.division,
            "UserID": self._world.user_id,
            "IsInstant": False,
        }
        self._context.subscriptions[subscription["ID"]] = subscription
        task = asyncio.create_task(self._validate(subscription))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return subscription

    def unsubscribe(self, key: str) -> None:
        self._context.subscriptions.pop(key, None)

    async def settle(self) -> None:
        """Wait until every subscription was validated or dropped."""
        await asyncio.gather(*self._tasks)

    async def deliver(self, *, twice: bool = False, backwards: bool = False) -> int:
        """Send what is due; answers how many deliveries were accepted."""
        self._queue()
        now = self._clock.now()
        due = [delivery for delivery in self._waiting if delivery.due <= now]
        due = list(reversed(due)) if backwards else due
        accepted = 0
        async with self._client() as client:
            for delivery in due * (2 if twice else 1):
                if await _post(client, delivery.url, delivery.body):
                    accepted += 1
                    if delivery in self._waiting:
                        self._waiting.remove(delivery)
                    continue
                delivery.tries += 1
                delivery.due = now + timedelta(minutes=2**delivery.tries)
                if delivery.tries >= MOST_TRIES and delivery in self._waiting:
                    self._waiting.remove(delivery)
        return accepted

    def signed(self, content: dict[str, Any]) -> bytes:
        """A delivery's body, its hash over the very bytes of the content."""
        text = json.dumps(content, separators=(",", ":"))
        key = self._settings.webhook_secret.encode()
        code = hmac.new(key, text.encode(), sha256).hexdigest().upper()
        return f'{{"Content":{text},"HashCode":"{code}"}}'.encode()

    async def _validate(self, subscription: dict[str, Any]) -> None:
        await self._clock.sleep(1)
        async with self._client() as client:
            if not await _post(client, subscription["CallbackURL"], b""):
                self._violations["webhook_validation_failed"] += 1
                self.unsubscribe(subscription["ID"])

    def _queue(self) -> None:
        self._world.catch_up()
        changes, self._world.fresh = self._world.fresh, []
        by_topic = {one["Topic"]: one["CallbackURL"] for one in self._context.subscriptions.values()}
        for change in changes:
            topic, path = _topic(change)
            if topic in by_topic:
                body = self.signed(self._content(change, topic, path))
                self._waiting.append(_Delivery(by_topic[topic], body, self._clock.now()))

    def _content(self, change: Change, topic: str, path: str) -> dict[str, Any]:
        division, key = self._world.division, change.target.id
        return {
            "Topic": topic,
            "ClientId": self._settings.client_id,
            "Division": division,
            "Action": _ACTIONS.get(change.action, "Update"),
            "Key": key,
            "ExactOnlineEndpoint": f"{self._context.origin}/api/v1/{division}/{path}(guid'{key}')",
            "EventCreatedOn": self._world.clock.local(change.at).isoformat(timespec="milliseconds"),
        }


def _topic(change: Change) -> tuple[str, str]:
    """The topic and endpoint that a change is announced under; there is none for matching."""
    if not isinstance(change.target, Entry):
        return _SUBJECTS.get(change.subject, ("", ""))
    entry = change.target
    if entry.kind in {EntryKind.SALES, EntryKind.CREDIT_NOTE}:
        return "SalesEntries", "salesentry/SalesEntries"
    if entry.journal.kind is JournalKind.BANK:
        return "BankEntries", "financialtransaction/BankEntries"
    if entry.journal.kind is JournalKind.CASH:
        return "CashEntries", "financialtransaction/CashEntries"
    return "GeneralJournalEntries", "generaljournalentry/GeneralJournalEntries"


async def _post(client: httpx.AsyncClient, url: str, body: bytes) -> bool:
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        response = await client.post(url, content=body, headers=headers, timeout=10)
    except httpx.HTTPError:
        return False
    return response.is_success
