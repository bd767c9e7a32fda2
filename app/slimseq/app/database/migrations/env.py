"""Alembic's environment: runs the migrations on the connection of `slimseq.app.database.database`."""

from alembic import context

# All steps belong to one transaction, so that a migration that fails changes nothing. By default, alembic takes SQLite
# for a database that cannot undo changes of tables.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
