"""How a koppelsleutel reaches an integration: the activation page, and a webhook told once (sheet 1.2)."""

from collections import Counter
from collections.abc import Callable
from html import escape
from typing import Literal
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from adapters.snelstart.simulator.encoding import derived_id, to_json
from adapters.snelstart.simulator.office import TokenOffice
from adapters.snelstart.simulator.settings import SimulatorSettings

ActionType = Literal["Create", "Regenerate", "Delete"]
LONGEST_REFERENCE = 500
_PAGE = "<html><head><title>SnelStart</title></head><body><h1>{title}</h1>{text}</body></html>"


class Activation:
    """Remembers the reference of the link, which every later event carries too."""

    def __init__(
        self,
        office: TokenOffice,
        settings: SimulatorSettings,
        violations: Counter[str],
        *,
        client: Callable[[], httpx.AsyncClient] = httpx.AsyncClient,
    ) -> None:
        self._office = office
        self._settings = settings
        self._violations = violations
        self._client = client
        self.reference = ""

    async def page(self, request: Request) -> Response:
        """The user's browser comes here; with `approve=1` the user confirms at once."""
        reference = request.query_params.get("referenceKey", "")
        known = request.path_params["app"] == self._settings.app_short_name
        if not known or (self._settings.webhook_url and not 0 < len(reference) <= LONGEST_REFERENCE):
            return HTMLResponse(_PAGE.format(title="Er is iets misgegaan", text="De koppeling is niet bekend."), 400)
        if request.query_params.get("approve") != "1":
            link = escape(str(request.url.include_query_params(approve="1")))
            text = f'<a href="{link}">Koppeling activeren</a>'
            return HTMLResponse(_PAGE.format(title="Koppeling activeren", text=text))
        self.reference = reference
        await self.change("Create")
        back = request.query_params.get("successUrl")
        if back and urlsplit(back).scheme in {"http", "https"}:
            return RedirectResponse(back, 302)
        return HTMLResponse(_PAGE.format(title="De koppeling is actief", text=""))

    async def change(self, action: ActionType, *, other_books: bool = False) -> bool:
        """Do it to the koppelsleutel and tell the app; whether that arrived.

        With `other_books` the new one opens another administration.
        """
        key = self._office.current
        if action == "Delete":
            self._office.withdraw()
        else:
            key = self._office.issue(derived_id(key) if other_books else None)
        return await self.tell(action, key)

    async def tell(self, action: ActionType, key: str, reference: str | None = None) -> bool:
        """Send one event, once. What is not accepted is lost; nothing is signed."""
        if self._settings.webhook_url is None:
            return False
        words = {"KoppelSleutel": key, "ActionType": action, "ReferenceKey": reference or self.reference}
        headers = {"Content-Type": "application/json"}
        async with self._client() as client:
            try:
                answer = await client.post(
                    self._settings.webhook_url, content=to_json(words), headers=headers, timeout=10
                )
            except httpx.HTTPError:
                self._violations["webhook_lost"] += 1
                return False
        if not answer.is_success:
            self._violations["webhook_lost"] += 1
        return answer.is_success
