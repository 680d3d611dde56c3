"""`python -m vistok`."""

from vistok.cli import main

main()
