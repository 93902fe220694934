from tests.street.shop import shop
from tests.street.showcase import showcase
from tests.street.upstreams import mock

__all__ = ["mock", "shop", "showcase"]
