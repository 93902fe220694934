"""Tables as classes: columns and indexes only. What is done with them is in services/.

One API's seven tables are here column for column (spec management.md §1.5), so that the Go program and this one can
work on the same database; our own columns are nullable, our own tables are ones it does not know. Its columns are
nullable almost everywhere: whoever reads a row made by an older version meets None.
"""

from oneapi.models.ability import Ability
from oneapi.models.channel import Channel
from oneapi.models.cluster import ChannelHealth, Lease, Revision
from oneapi.models.ledger import Hold, Opening, OutboxEntry
from oneapi.models.log import Log, LogRollup
from oneapi.models.one_time_code import OneTimeCode
from oneapi.models.option import Option
from oneapi.models.redemption import Redemption
from oneapi.models.token import Token
from oneapi.models.token_budget import TokenBudget
from oneapi.models.user import User

__all__ = [
    "Ability",
    "Channel",
    "ChannelHealth",
    "Hold",
    "Lease",
    "Log",
    "LogRollup",
    "OneTimeCode",
    "Opening",
    "Option",
    "OutboxEntry",
    "Redemption",
    "Revision",
    "Token",
    "TokenBudget",
    "User",
]
