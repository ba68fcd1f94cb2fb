"""`python -m connector`: the command line, where no script is installed."""

from connector.cli import main

main()
