"""FastAPI that predicts in the request, in a synchronous function that runs in its thread pool.

Source: https://fastapi.tiangolo.com/async/ (blocking path operation functions).
"""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from tests.bench.rivals.model import Model


class Product(BaseModel):
    """Request body."""

    designation: str
    description: str


def main(port: int) -> None:
    """Serve the model on a port."""
    app, model = FastAPI(), Model()

    @app.post("/predict")
    def predict(product: Product) -> int:
        return model.predict([(product.designation, product.description)])[0]

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
