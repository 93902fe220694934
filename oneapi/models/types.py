"""Column types as One API's databases have them, one name for each kind of field (spec management.md §1.4)."""

from __future__ import annotations

from sqlalchemy import CHAR, REAL, BigInteger, Boolean, Double, Integer, Numeric, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_MYSQL = ("mysql", "mariadb")

# SQLite makes rowids only of columns whose type is exactly `integer`.
Int: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
Unsigned: TypeEngine[int] = Int.with_variant(mysql.BIGINT(unsigned=True), *_MYSQL)
Float: TypeEngine[float] = Double().with_variant(REAL(), "sqlite").with_variant(Numeric(asdecimal=False), "postgresql")
Bool: TypeEngine[bool] = Boolean()


def text_or_varchar(length: int) -> TypeEngine[str]:
    """A string with an index, a default, or in a primary key: MySQL wants a length for those."""
    return Text().with_variant(String(length), *_MYSQL)


Name = text_or_varchar(191)
LongText: TypeEngine[str] = Text().with_variant(mysql.LONGTEXT(), *_MYSQL)


class Char(TypeDecorator[str]):
    """char(n): PostgreSQL pads it with blanks, which are taken off again here."""

    impl = CHAR
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.rstrip(" ")
