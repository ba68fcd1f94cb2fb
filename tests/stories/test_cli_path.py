"""The consultant's path, from an empty folder to a client whose mirror follows, each step a process."""

from collections import Counter
from typing import Any

from connector import mirror
from connector.receiver import Seen
from tests.desk import Desk, Servers, link_of, sign_in


def records_in(events: list[dict[str, Any]]) -> Counter[str]:
    """The newest state of each record that waits, counted by type."""
    newest = {(event["entity"], event["external_id"]): event["type"] for event in events}
    return Counter(kind for kind in newest.values() if kind.endswith(("upserted.v1", "removed.v1")))


def events_since(around: Servers, deliveries: int) -> list[Seen]:
    return [event for delivery in around.receiver.history[deliveries:] for event in delivery.events]


def test_from_an_empty_folder_to_a_mirror_that_follows(desk: Desk, around: Servers) -> None:
    filled_in = desk.file.read_text()
    desk.file.unlink()
    desk.key.unlink()
    assert desk.run("init").code == 0
    assert desk.key.stat().st_mode & 0o777 == 0o600
    assert "[[connections]]" in desk.file.read_text()
    desk.file.write_text(filled_in)

    unlinked = desk.run("check")
    assert unlinked.code == 3
    assert f"http://127.0.0.1:{desk.port}/callback" in unlinked.out
    assert "-> run `connector connect acme`" in unlinked.out

    connecting = desk.start("connect", "acme", "--no-browser")
    page = sign_in(link_of(connecting))
    assert (page.status_code, page.url.path, page.url.query) == (200, "/connect", b"")
    assert "is linked" in page.text
    linked = desk.ended(connecting)
    assert (linked.code, "linked acme" in linked.out) == (0, True), linked

    checked = desk.run("check", "--json")
    assert checked.code == 0
    assert {finding["state"] for finding in checked.json()} == {"ok"}

    rehearsed = desk.run("sync", "--dry-run")
    assert (rehearsed.code, "nothing was stored or sent" in rehearsed.out) == (0, True)
    assert around.receiver.history == []
    assert desk.run("status", "--json").json()["connections"][0]["invoices"] == 0

    assert desk.run("sync", "--no-deliver").code == 0
    assert around.receiver.history == []
    listed = desk.run("events", "--json", "--limit", "1000").json()
    shown = desk.run("events", "--limit", "1000").out
    assert [event["event_id"] for event in listed if event["event_id"] not in shown] == [], "an id is never cut off"
    waiting = records_in(listed)
    assert waiting["ar.invoice.upserted.v1"] >= mirror.figures(around.truth).items > 0
    for kind, count in waiting.items():
        assert f"{count:>7}  {kind}" in rehearsed.out

    around.book("pay")
    delivered = desk.run("sync")
    assert (delivered.code, "events delivered" in delivered.out) == (0, True), delivered
    assert mirror.differences(around.mirror(), around.truth) == []

    status = desk.run("status", "--json").json()["connections"][0]
    assert (status["linked"], status["outcome"], status["reason"]) == (True, "ok", "")
    assert status["next_step"] == {"what": "sync", "at": status["next_due_at"]}
    assert status["sign_in"]["signed_in_at"] < status["sign_in"]["keep_alive_at"] < status["sign_in"]["ends_at"]
    shown = " ".join(desk.run("status").out.split())
    assert "acme: the sign-in lives until" in shown
    assert "; next: sync at " in shown


def test_the_redirected_address_may_be_pasted(desk: Desk) -> None:
    """On a machine that the browser cannot reach; what is no address is asked for again."""
    done = desk.paste(desk.start("connect", "acme", "--paste"), "what is this?")
    assert (done.code, "linked acme" in done.out) == (0, True), done
    assert "not the redirected address" in done.err


def test_changed_mapping_sends_only_real_differences_and_replay_sends_again(desk: Desk, around: Servers) -> None:
    desk.linked()
    assert desk.run("sync").code == 0
    own = desk.folder / "acme.toml"
    desk.configure('destination = "backend"', 'destination = "backend"\nmapping = "acme.toml"')
    assert "there is no file" in desk.run("mapping", "check").err

    own.write_text('[customer]\nemial = "Email"\n')
    wrong = desk.run("mapping", "check")
    assert wrong.code == 2
    assert "customer.emial" in wrong.err
    assert "did you mean 'email'?" in wrong.err

    own.write_text('[customer]\nname = "account.Name | upper"\n')
    assert desk.run("mapping", "check").code == 0
    shown = desk.run("mapping", "preview", "acme", "--json", "--limit", "1").json()
    name = shown[0]["records"]["customers"][0]["name"]
    assert name == name.upper()

    before = len(around.receiver.history)
    applied = desk.run("sync", "--json")
    assert applied.code == 0
    told = events_since(around, before)
    changed = {event.subject.partition("/")[0] for event in told if event.type.endswith("upserted.v1")}
    assert changed == {"customer"}
    assert all(customer["name"].isupper() for customer in around.mirror()["customers"].values())

    again = desk.run("replay", "--connection", "acme")
    assert (again.code, "wait to be sent again" in again.out) == (0, True)
    held, before = around.mirror(), len(around.receiver.history)
    assert desk.run("sync").code == 0
    told = events_since(around, before)
    assert "duplicate" in {event.verdict for event in told}
    for entities in ("customers", "invoices", "payments"):
        assert around.mirror()[entities] == held[entities]


def test_a_database_that_is_lost_without_a_backup(desk: Desk, around: Servers) -> None:
    """The backend has seen versions of the lost one and would take those of an empty one for old news."""
    desk.linked()
    assert desk.run("sync").code == 0
    for file in desk.folder.glob("connector.db*"):
        file.unlink()
    desk.linked()
    around.book("rename_customer")
    assert desk.run("sync", "--no-deliver").code == 0
    assert mirror.differences(around.mirror(), around.truth) != []
    assert desk.run("resend", "acme", "--after-restore").code == 0
    assert desk.run("sync").code == 0
    assert mirror.differences(around.mirror(), around.truth) == []
