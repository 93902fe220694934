from tests.street.shop import shop
from tests.street.upstreams import mock

__all__ = ["mock", "shop"]
