"""`oneapi rebuild-abilities`: the table of who serves what, made anew from the channels (D-25, D-39)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from oneapi.config import Config
from oneapi.database import open_databases
from oneapi.services import channels

_HELP = """\
Makes the table of abilities, from which channels are chosen, agree with the channels: rows of channels that are gone
are removed, and those that a channel lacks are added. Needed after the database was edited by hand, or by a program
that left it half done; it changes nothing else, and may run beside the program."""


def rebuild_abilities_command(config: Config, arguments: Sequence[str]) -> int:
    """Gives the exit status: 0 it is done, 2 it could not be."""
    argparse.ArgumentParser(
        prog="oneapi rebuild-abilities",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    ).parse_args(arguments)
    databases = open_databases(config)
    try:
        count = channels.rebuild_abilities(databases.main)
    except SQLAlchemyError as error:
        print(f"Nothing was done: the database says: {getattr(error, 'orig', None) or error}", file=sys.stderr)
        return 2
    finally:
        databases.dispose()
    print(f"The abilities of {count} channels are as they should be.")
    return 0
