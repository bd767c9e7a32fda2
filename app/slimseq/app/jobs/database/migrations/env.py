"""Alembic's environment: runs the migrations on the connection of `slimseq.app.jobs.database.database`."""

from alembic import context

from slimseq.app.jobs.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
