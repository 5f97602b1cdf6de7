"""LitServe with its built-in batching.

Source: https://lightning.ai/docs/litserve/features/batching
"""

import sys
from typing import Any

import litserve

from tests.bench.rivals.model import MAX_BATCH, MAX_WAIT_SECONDS, Model


class Texts(litserve.LitAPI):  # type: ignore[misc]
    """Model behind the LitServe API."""

    def setup(self, _device: str) -> None:
        """Load the model."""
        self.model = Model()

    def decode_request(self, request: dict[str, str]) -> tuple[str, str]:
        """Return title and description of a request."""
        return request["designation"], request["description"]

    def batch(self, inputs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the products as a list; the default implementation would stack arrays."""
        return inputs

    def predict(self, products: list[tuple[str, str]]) -> list[int]:
        """Return the category codes of a batch."""
        return self.model.predict(products)

    def unbatch(self, output: list[int]) -> Any:
        """Return the codes of a batch one by one."""
        return output

    def encode_response(self, output: int) -> dict[str, int]:
        """Return the response for one product."""
        return {"prdtypecode": output}


if __name__ == "__main__":
    api = Texts(max_batch_size=MAX_BATCH, batch_timeout=MAX_WAIT_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
