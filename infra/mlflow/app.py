"""Registry server: `uvicorn --factory infra.mlflow.app:create_app`.

MLflow's own application also has routes that run commands, call language models and send webhooks,
and none of its routes asks who calls. Here every path that Rayon does not call is 404, and all but
`/health` need the token, which MLflow's client sends if `MLFLOW_TRACKING_TOKEN` is set.

Nothing of Rayon is imported but the guard: the image of the registry has no other code.
"""

import os
import sys
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.wsgi import WSGIMiddleware

from infra.mlflow.guard import Guard

#: Libraries that MLflow imports wherever they are installed, and that a registry does not need.
#: They take 40 MiB.
NEEDLESS = ("pandas", "pyarrow", "scipy", "sklearn")


def create_app() -> Guard:
    """Build the server from `MLFLOW_TOKEN_FILE` and the variables of MLflow."""
    # The import system reports a module that is `None` as not installed.
    sys.modules.update(dict.fromkeys(NEEDLESS))  # type: ignore[arg-type]
    from mlflow.server import app as flask_app
    from mlflow.server.artifact_router import artifact_router
    from mlflow.server.server_info_api import server_info_router

    token = Path(os.environ["MLFLOW_TOKEN_FILE"]).read_text().strip()
    served = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # Files are streamed by this router; Flask would hold them in memory.
    served.include_router(artifact_router)
    served.include_router(server_info_router)
    served.mount("/", WSGIMiddleware(flask_app))
    return Guard(served, token)
