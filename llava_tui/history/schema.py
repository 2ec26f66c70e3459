"""The tables of the chat history, as the steps that led to them: migration n brings a database from version n to n + 1.

Only ever append. `PRAGMA user_version` says how many steps a database has behind it.
"""

from __future__ import annotations

_FIRST = (
    """
    CREATE TABLE chats (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        leaf_id INTEGER  -- end of the branch shown last; no foreign key, which would cost a scan for each deleted turn
    )
    """,
    "CREATE INDEX chats_by_use ON chats(updated)",
    # parent_id does not cascade: SQLite would recurse once a turn, and gives up at a thousand. Checked at the commit
    # instead, when a deleted chat has lost all its turns.
    """
    CREATE TABLE turns (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        chat_id INTEGER NOT NULL REFERENCES chats(id) ON DELETE CASCADE,
        parent_id INTEGER REFERENCES turns(id) DEFERRABLE INITIALLY DEFERRED,
        shown_child_id INTEGER,  -- which branch goes on from here when this turn is shown
        role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
        text TEXT NOT NULL,
        status TEXT NOT NULL,
        stats TEXT,  -- JSON of ReplyStats
        error TEXT NOT NULL DEFAULT '',
        created REAL NOT NULL
    )
    """,
    "CREATE INDEX turns_by_chat ON turns(chat_id)",
    "CREATE INDEX turns_by_parent ON turns(parent_id, chat_id)",
    """
    CREATE TABLE pictures (
        sha256 TEXT PRIMARY KEY,
        media_type TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        size INTEGER NOT NULL,
        added REAL NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE turn_pictures (
        turn_id INTEGER NOT NULL REFERENCES turns(id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        sha256 TEXT NOT NULL REFERENCES pictures(sha256),
        name TEXT NOT NULL,
        tokens INTEGER,
        PRIMARY KEY (turn_id, position)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX turn_pictures_by_content ON turn_pictures(sha256)",
    "CREATE VIRTUAL TABLE turns_fts USING fts5("
    "text, content='turns', content_rowid='id', tokenize='unicode61 remove_diacritics 2')",
    """
    CREATE TRIGGER turns_fts_insert AFTER INSERT ON turns BEGIN
        INSERT INTO turns_fts(rowid, text) VALUES (new.id, new.text);
    END
    """,
    """
    CREATE TRIGGER turns_fts_delete AFTER DELETE ON turns BEGIN
        INSERT INTO turns_fts(turns_fts, rowid, text) VALUES ('delete', old.id, old.text);
    END
    """,
    """
    CREATE TRIGGER turns_fts_update AFTER UPDATE OF text ON turns WHEN new.text IS NOT old.text BEGIN
        INSERT INTO turns_fts(turns_fts, rowid, text) VALUES ('delete', old.id, old.text);
        INSERT INTO turns_fts(rowid, text) VALUES (new.id, new.text);
    END
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
