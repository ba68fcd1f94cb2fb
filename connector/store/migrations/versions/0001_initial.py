"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "administration",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "external_id"),
    )
    op.create_table(
        "api_key",
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("last_used_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("prefix"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", BIG, nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("first_event", BIG, nullable=False),
        sa.Column("last_event", BIG, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_attempt_destination"), "attempt", ["destination"], unique=False)
    op.create_table(
        "call_budget",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("administration", sa.String(), nullable=False),
        sa.Column("minute", sa.DateTime(), nullable=False),
        sa.Column("minute_used", sa.Integer(), nullable=False),
        sa.Column("minute_limit", sa.Integer(), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("day_used", sa.Integer(), nullable=False),
        sa.Column("day_limit", sa.Integer(), nullable=True),
        sa.Column("day_ends_at", sa.DateTime(), nullable=True),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("paused_until", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("app", "administration"),
    )
    op.create_table(
        "connection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("package", sa.String(), nullable=False),
        sa.Column("administration", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("linked_at", sa.DateTime(), nullable=True),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("sequence", BIG, nullable=False),
        sa.Column("cycle", BIG, nullable=False),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("control_total", sa.LargeBinary(), nullable=True),
        sa.Column("initial_done", sa.Boolean(), nullable=False),
        sa.Column("next_due_at", sa.DateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_epoch", BIG, nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("last_started_at", sa.DateTime(), nullable=True),
        sa.Column("last_success_at", sa.DateTime(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("alerted", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_index(op.f("ix_connection_next_due_at"), "connection", ["next_due_at"], unique=False)
    op.create_table(
        "customer",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("party_type", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("connection_id", "external_id"),
    )
    op.create_index("customer_group", "customer", ["connection_id", "group_key"], unique=False)
    op.create_table(
        "data_key",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key_ct", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "number"),
    )
    op.create_table(
        "destination",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.DateTime(), nullable=True),
        sa.Column("due_at", sa.DateTime(), nullable=True),
        sa.Column("claimed_up_to", BIG, nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_epoch", BIG, nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "invoice",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("customer", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("total_minor", BIG, nullable=False),
        sa.Column("open_minor", BIG, nullable=False),
        sa.Column("base_currency", sa.String(), nullable=False),
        sa.Column("base_total_minor", BIG, nullable=False),
        sa.Column("base_open_minor", BIG, nullable=False),
        sa.Column("payment_status", sa.String(), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("due_date", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("connection_id", "external_id"),
    )
    op.create_index("invoice_group", "invoice", ["connection_id", "group_key"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", BIG, nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("sequence", BIG, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("entity_version", BIG, nullable=False),
        sa.Column("ordering_key", sa.String(), nullable=False),
        sa.Column("barrier", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("postponed", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "outbox_barrier",
        "outbox",
        ["connection_id", "destination", "type"],
        unique=False,
        sqlite_where=sa.text("barrier = 1 AND state IN ('pending', 'waiting', 'dead')"),
        postgresql_where=sa.text("barrier AND state IN ('pending', 'waiting', 'dead')"),
    )
    op.create_index(
        "outbox_connection",
        "outbox",
        ["connection_id", "destination", "id"],
        unique=False,
        sqlite_where=sa.text("state IN ('pending', 'waiting', 'dead')"),
        postgresql_where=sa.text("state IN ('pending', 'waiting', 'dead')"),
    )
    op.create_index(
        "outbox_entity",
        "outbox",
        ["connection_id", "entity", "external_id", "id"],
        unique=False,
        sqlite_where=sa.text("state IN ('pending', 'waiting', 'dead')"),
        postgresql_where=sa.text("state IN ('pending', 'waiting', 'dead')"),
    )
    op.create_index(
        "outbox_held",
        "outbox",
        ["connection_id", "ordering_key", "id"],
        unique=False,
        sqlite_where=sa.text("state IN ('waiting', 'dead')"),
        postgresql_where=sa.text("state IN ('waiting', 'dead')"),
    )
    op.create_index(
        "outbox_queue",
        "outbox",
        ["destination", "id"],
        unique=False,
        sqlite_where=sa.text("state IN ('pending', 'waiting', 'dead')"),
        postgresql_where=sa.text("state IN ('pending', 'waiting', 'dead')"),
    )
    op.create_table(
        "payment",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("customer", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("unallocated_minor", BIG, nullable=False),
        sa.Column("base_currency", sa.String(), nullable=False),
        sa.Column("base_amount_minor", BIG, nullable=False),
        sa.Column("base_unallocated_minor", BIG, nullable=False),
        sa.Column("booking_date", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("connection_id", "external_id"),
    )
    op.create_index("payment_group", "payment", ["connection_id", "group_key"], unique=False)
    op.create_index(
        "payment_unallocated",
        "payment",
        ["connection_id"],
        unique=False,
        sqlite_where=sa.text("base_unallocated_minor > 0"),
        postgresql_where=sa.text("base_unallocated_minor > 0"),
    )
    op.create_table(
        "quarantine",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("adapter_version", sa.String(), nullable=False),
        sa.Column("payload_ct", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "kind", "key"),
    )
    op.create_table(
        "record_group",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("touched", sa.Boolean(), nullable=False),
        sa.Column("base_open", BIG, nullable=False),
        sa.Column("left_out", BIG, nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "group_key"),
    )
    op.create_index(
        "record_group_touched",
        "record_group",
        ["connection_id", "group_key"],
        unique=False,
        sqlite_where=sa.text("touched = 1"),
        postgresql_where=sa.text("touched"),
    )
    op.create_table(
        "row",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=True),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("version", BIG, nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("seen", BIG, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "kind", "key"),
    )
    op.create_index(
        "row_day",
        "row",
        ["connection_id", "kind", "group_key", "day"],
        unique=False,
        sqlite_where=sa.text("day IS NOT NULL"),
        postgresql_where=sa.text("day IS NOT NULL"),
    )
    op.create_index("row_group", "row", ["connection_id", "group_key"], unique=False)
    op.create_index(
        "row_open",
        "row",
        ["connection_id", "kind", "seen"],
        unique=False,
        sqlite_where=sa.text("open = 1"),
        postgresql_where=sa.text("open"),
    )
    op.create_index(
        "row_parent",
        "row",
        ["connection_id", "parent"],
        unique=False,
        sqlite_where=sa.text("parent IS NOT NULL"),
        postgresql_where=sa.text("parent IS NOT NULL"),
    )
    op.create_table(
        "settlement",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("invoice", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount_minor", BIG, nullable=False),
        sa.Column("base_amount_minor", BIG, nullable=False),
        sa.Column("settled_on", sa.Date(), nullable=True),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("derived", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "invoice", "position"),
    )
    op.create_table(
        "authorization_request",
        sa.Column("state_hash", sa.String(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("session_hash", sa.String(), nullable=False),
        sa.Column("invitation_hash", sa.String(), nullable=True),
        sa.Column("verifier_ct", sa.String(), nullable=True),
        sa.Column("redirect_uri", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.PrimaryKeyConstraint("state_hash"),
    )
    op.create_index(
        op.f("ix_authorization_request_session_hash"), "authorization_request", ["session_hash"], unique=False
    )
    op.create_table(
        "activation",
        sa.Column("reference_hash", sa.String(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("invitation_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.PrimaryKeyConstraint("reference_hash"),
    )
    op.create_table(
        "key_news",
        sa.Column("id", BIG, nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("reference_hash", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("key_ct", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "invitation",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("spent_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.PrimaryKeyConstraint("connection_id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_table(
        "feed",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=True),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("since", BIG, nullable=True),
        sa.Column("swept", BIG, nullable=True),
        sa.Column("completed_at", sa.DateTime(), nullable=True),
        sa.Column("attempted_at", sa.DateTime(), nullable=True),
        sa.Column("rows", BIG, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.PrimaryKeyConstraint("connection_id", "name"),
    )
    op.create_table(
        "token",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("generation", BIG, nullable=False),
        sa.Column("signed_in_at", sa.DateTime(), nullable=False),
        sa.Column("access_ct", sa.String(), nullable=False),
        sa.Column("refresh_ct", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(), nullable=False),
        sa.Column("refresh_expires_at", sa.DateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("intent_at", sa.DateTime(), nullable=True),
        sa.Column("intent_generation", BIG, nullable=True),
        sa.Column("retry_at", sa.DateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("calls_on", sa.Date(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
        ),
        sa.PrimaryKeyConstraint("connection_id"),
    )
