"""Alembic's environment: runs the migrations on the connection of `slimseq.app.database.database`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
