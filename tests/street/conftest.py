from tests.street.upstreams import mock

__all__ = ["mock"]
