"""`python -m oneapi`: the same as the command `oneapi`."""

from oneapi.cli import main

main()
