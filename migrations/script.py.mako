"""${message}

Revision ID: ${up_revision}
"""

from __future__ import annotations

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade(role: str = "main") -> None:
    ${upgrades if upgrades else "pass"}


def downgrade(role: str = "main") -> None:
    ${downgrades if downgrades else "pass"}
