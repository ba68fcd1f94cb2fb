"""The commands, put together."""

import os
from typing import Annotated

import typer

from connector.cli import apikeys, insight, linking, mappings, play, resending, secrets, setup, syncing
from connector.cli.common import set_up_logging
from connector.runtime import spare_the_collector

app = typer.Typer(
    name="connector",
    help="Links a client's accounting package to a dunning service, to the cent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also log what goes well.")] = False,
) -> None:
    """Options of every command."""
    set_up_logging(verbose=verbose)


app.command("init")(setup.init)
app.command("check")(setup.check)
app.command("connect")(linking.connect)
app.command("sync")(syncing.sync)
app.command("run")(syncing.run)
app.command("status")(insight.status)
app.command("events")(insight.events)
app.command("replay")(insight.replay)
app.command("resend")(resending.resend)
app.command("simulate")(play.simulate)
app.command("receiver")(play.receiver)
app.command("demo")(play.demo)
app.add_typer(mappings.app, name="mapping")
app.add_typer(secrets.app, name="secrets")
app.add_typer(apikeys.app, name="apikey")


def main() -> None:
    os.umask(0o077)  # what the program writes is for the user that runs it alone
    spare_the_collector()
    app()
