from tests.services.books import kept_database

__all__ = ["kept_database"]
