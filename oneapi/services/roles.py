"""Roles, and who may act on whom: the one permission function that the API and the panel both ask."""

from __future__ import annotations

COMMON, ADMIN, ROOT = 1, 10, 100


def may_act_on(actor_role: int, target_role: int) -> bool:
    """Nobody acts on an equal or a higher one; root acts on everybody."""
    return actor_role == ROOT or actor_role > target_role


def may_grant(actor_role: int, role: int) -> bool:
    """Only the roles of common users and administrators are given, each by somebody above it."""
    return role in (COMMON, ADMIN) and actor_role > role
