"""Bare FastAPI endpoint that writes one row: a lower bound for the cost of accepting a job.

Source: https://fastapi.tiangolo.com/tutorial/sql-databases/, with the SQLite settings of Rayon.
"""

import sys
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Form
from pydantic import SecretStr
from sqlalchemy import String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from shared.db.models import new_id
from shared.db.session import open_engine
from shared.settings import DatabaseSettings


class Base(DeclarativeBase):
    """Base class of the table."""


class Row(Base):
    """Submitted product."""

    __tablename__ = "products"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    designation: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)


def main(port: int, path: str) -> None:
    """Serve the endpoint on a port, with a database at a path."""
    app = FastAPI()
    engine = open_engine(DatabaseSettings(url=SecretStr(f"sqlite:///{path}")))
    Base.metadata.create_all(engine)

    @app.post("/v1/jobs", status_code=202)
    def accept(
        designation: Annotated[str, Form()], description: Annotated[str, Form()]
    ) -> dict[str, str]:
        row = Row(id=new_id(), designation=designation, description=description)
        with Session(engine, expire_on_commit=False) as session, session.begin():
            session.add(row)
        return {"id": row.id}

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
