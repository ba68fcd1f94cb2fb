"""Alembic's environment: runs inside the transaction that `connector.store.engine` opened."""

from alembic import context

from connector.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
context.run_migrations()
