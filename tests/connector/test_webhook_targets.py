"""Where the webhook refuses to go, and how it gets where it may."""

import asyncio
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from connector.destinations import targets
from connector.destinations.webhook import Webhook
from connector.errors import ConfigurationError
from connector.receiver import Receiver
from connector.secrets import Secret
from tests import certificates
from tests.conformance.destinations import event
from tests.sending import CLOCK, SECRET, local
from tests.servers import serve


class TestTargets:
    @pytest.mark.parametrize(
        "url",
        [
            "http://dunning.example/events",
            "https://127.0.0.1/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:a00:1::]/",
            "https://[fe80::1]/",
            "https://224.0.0.1/",
            "https://0.0.0.0/",
            "https://0177.0.0.1/",
            "https://user:password@dunning.example/",
            "https://dunning.example:22/",
            "ftp://dunning.example/",
            "https://",
            "dunning.example",
            "https://dunning.example:x/",
        ],
    )
    def test_a_private_or_odd_url_is_refused_when_it_is_configured(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="webhook URL"):
            Webhook(url, [Secret(SECRET)], clock=CLOCK)

    @pytest.mark.parametrize("url", ["https://user@127.0.0.1/", "gopher://127.0.0.1/", "https:///events"])
    def test_some_urls_are_odd_even_for_a_private_backend(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            local(url)

    @pytest.mark.parametrize("secrets", [[], ["short"], ["whsec_?"]])
    def test_a_webhook_needs_a_proper_secret(self, secrets: list[str]) -> None:
        with pytest.raises(ConfigurationError, match="secret"):
            Webhook("https://dunning.example/", [Secret(secret) for secret in secrets], clock=CLOCK)

    @pytest.mark.parametrize(
        "found",
        [
            ["127.0.0.1"],
            ["93.184.216.34", "10.1.2.3"],
            ["::ffff:169.254.169.254"],
            ["fe80::1%eth0"],
            ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.168.0.1"],
        ],
    )
    async def test_a_name_that_leads_inside_is_refused_at_delivery(self, found: list[str]) -> None:
        async def resolve(_: str, __: int) -> Sequence[str]:
            return found

        sender = Webhook("https://dunning.example/", [Secret(SECRET)], clock=CLOCK, resolve=resolve)
        outcome = await sender.send([event(1)])
        await sender.close()
        assert (outcome.kind, outcome.status) == ("pause", None)
        assert "public internet" in outcome.reason

    @pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1"])
    async def test_a_disguised_address_is_refused_at_delivery(self, host: str) -> None:
        sender = Webhook(f"https://{host}/", [Secret(SECRET)], clock=CLOCK)
        outcome = await sender.send([event(1)])
        await sender.close()
        assert outcome.kind == "pause"

    async def test_the_name_is_resolved_for_every_delivery(self) -> None:
        answers = [["93.184.216.34"], ["127.0.0.1"]]
        asked: list[str] = []

        async def resolve(name: str, _: int) -> Sequence[str]:
            asked.append(name)
            if len(asked) == 1:
                raise OSError("unknown for now")
            return answers[1]

        sender = Webhook("https://dunning.example/", [Secret(SECRET)], clock=CLOCK, resolve=resolve)
        kinds = [(await sender.send([event(1)])).kind for _ in range(2)]
        await sender.close()
        assert kinds == ["retry", "pause"]
        assert asked == ["dunning.example", "dunning.example"]

    async def test_tls_and_host_keep_the_name_while_the_checked_address_is_called(self, tmp_path: Path) -> None:
        file = certificates.certificate(tmp_path, host="dunning.example")
        server_tls, client_tls = certificates.server(file), ssl.create_default_context(cafile=str(file))
        hosts: list[str] = []
        names: list[str | None] = []
        server_tls.sni_callback = lambda _, name, __: names.append(name)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            hosts.extend(line for line in head.split("\r\n") if line.lower().startswith("host:"))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
            writer.close()

        async def resolve(_: str, __: int) -> Sequence[str]:
            return ["127.0.0.1"]

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server_tls)
        port = server.sockets[0].getsockname()[1]
        async with server:
            good = local(f"https://dunning.example:{port}/", tls=client_tls, resolve=resolve)
            outcome = await good.send([event(1)])
            wrong = local(f"https://other.example:{port}/", tls=client_tls, resolve=resolve)
            mistaken = await wrong.send([event(1)])
            await good.close()
            await wrong.close()
        assert outcome.status == 204
        assert hosts == [f"Host: dunning.example:{port}"]
        assert names == ["dunning.example", "other.example"]
        assert mistaken.kind == "retry"
        assert "certificate" in mistaken.reason

    async def test_the_second_address_is_tried_when_the_first_does_not_answer(self) -> None:
        receiver = Receiver([SECRET], clock=CLOCK)
        async with serve(receiver.app) as url:
            port = httpx.URL(url).port

            async def resolve(_: str, __: int) -> Sequence[str]:
                return ["127.0.0.2", "127.0.0.1"]

            sender = local(f"http://dunning.example:{port}/events", resolve=resolve)
            assert (await sender.send([event(1)])).kind == "answered"
            await sender.close()

    @pytest.mark.parametrize(
        ("address", "public"),
        [
            ("93.184.216.34", True),
            ("2606:2800:220:1::1", True),
            ("::ffff:93.184.216.34", True),
            ("64:ff9b::5db8:d822", True),
            ("::93.184.216.34", True),
            ("::10.0.0.1", False),
            ("::", False),
            ("fc00::1", False),
            ("ff02::1", False),
            ("192.0.2.1", False),
            ("198.18.0.1", False),
        ],
    )
    def test_public_means_public_all_the_way_in(self, address: str, public: bool) -> None:
        assert targets.is_public(ipaddress.ip_address(address)) is public
