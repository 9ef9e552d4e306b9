//! All of it, as it is at the start. What cannot be is said, and is no panic: SQLite finds what is broken in the structure of its pages, not a bit that turned
//! within a row.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use media::WallTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::auth::people::{Kept, Link, LinkKind, Owner, People, Player, Session, Sum, Token, User, UserId};
use crate::auth::{Hash, Network, Rights, Streams};
use crate::secret::Secret;

type Read<T> = rusqlite::Result<T>;

/// Everybody.
pub(super) fn everybody(connection: &Connection) -> Read<People> {
    Ok(People::of(Kept {
        users: all(
            connection,
            "SELECT id, name, hash, role, streams, made_at, disabled FROM user",
            user,
        )?,
        roles: all(connection, "SELECT name, rights FROM role", |row| {
            Ok((row.get::<_, String>(0)?.into(), parsed(row, 1)?))
        })?,
        sessions: all(
            connection,
            "SELECT hash, user, credential, made_at, seen_at, ends_at, remote, agent FROM session",
            session,
        )?,
        tokens: all(
            connection,
            "SELECT hash, user, name, rights, networks, made_at, ends_at, used_at FROM token",
            token,
        )?,
        players: all(connection, "SELECT user, secret FROM player", |row| {
            let secret = Secret::new(row.get::<_, String>(1)?);
            Ok((UserId(row.get(0)?), Player { secret }))
        })?,
        links: all(
            connection,
            "SELECT hash, kind, role, streams, by, ends_at, uses_left, password FROM link",
            link,
        )?,
        preferences: all(connection, "SELECT user, data FROM preference", |row| {
            Ok((UserId(row.get(0)?), Arc::from(row.get::<_, String>(1)?)))
        })?,
        next_user: next_user(connection)?,
    }))
}

/// The key of devices; a new one where there is none.
pub(super) fn device_key(connection: &Connection) -> Read<[u8; 32]> {
    let found = connection
        .query_row("SELECT value FROM meta WHERE key = 'device'", [], |row| row.get(0))
        .optional()?;
    if let Some(key) = found {
        return Ok(key);
    }
    let key = super::random_key();
    connection.execute("INSERT INTO meta VALUES ('device', ?1)", [key])?;
    Ok(key)
}

fn all<T>(connection: &Connection, statement: &str, read: fn(&Row<'_>) -> Read<T>) -> Read<Vec<T>> {
    connection.prepare(statement)?.query_map([], read)?.collect()
}

fn next_user(connection: &Connection) -> Read<i64> {
    let given: Option<i64> =
        connection.query_row("SELECT max(seq) FROM sqlite_sequence WHERE name = 'user'", [], |row| {
            row.get(0)
        })?;
    Ok(given.unwrap_or(0).max(0).saturating_add(1))
}

fn user(row: &Row<'_>) -> Read<User> {
    Ok(User {
        id: UserId(row.get(0)?),
        name: row.get::<_, String>(1)?.into(),
        hash: hash(row, 2)?,
        role: row.get::<_, String>(3)?.into(),
        streams: words(row, 4)?,
        rights: Rights::none(),
        made_at: time(row, 5)?,
        disabled: row.get(6)?,
    })
}

fn session(row: &Row<'_>) -> Read<Session> {
    let owner = match (row.get::<_, Option<i64>>(1)?, row.get::<_, Option<String>>(2)?) {
        (Some(user), None) => Owner::User(UserId(user)),
        (None, Some(credential)) => Owner::Credential(credential.into()),
        _ => return Err(cannot_be(1, "it is nobody's")),
    };
    Ok(Session {
        sum: sum(row)?,
        owner,
        made_at: time(row, 3)?,
        seen_us: AtomicI64::new(row.get(4)?),
        ends_at: time(row, 5)?,
        remote: parsed(row, 6)?,
        agent: row.get::<_, String>(7)?.into(),
        kept: true,
    })
}

fn token(row: &Row<'_>) -> Read<Token> {
    Ok(Token {
        sum: sum(row)?,
        user: UserId(row.get(1)?),
        name: row.get::<_, String>(2)?.into(),
        rights: parsed(row, 3)?,
        networks: words::<Network>(row, 4)?,
        made_at: time(row, 5)?,
        ends_at: time(row, 6)?,
        used_us: AtomicI64::new(row.get(7)?),
    })
}

fn link(row: &Row<'_>) -> Read<Link> {
    let kind: String = row.get(1)?;
    let kind = LinkKind::ALL.into_iter().find(|known| known.name() == kind);
    Ok(Link {
        sum: sum(row)?,
        kind: kind.ok_or_else(|| cannot_be(1, "there is no such kind"))?,
        role: row.get::<_, String>(2)?.into(),
        streams: words::<Streams>(row, 3)?,
        by: row.get::<_, Option<i64>>(4)?.map(UserId),
        ends_at: time(row, 5)?,
        uses_left: row.get(6)?,
        hash: hash(row, 7)?,
    })
}

fn sum(row: &Row<'_>) -> Read<Sum> {
    Ok(Sum(row.get::<_, [u8; 32]>(0)?))
}

fn time(row: &Row<'_>, column: usize) -> Read<WallTime> {
    Ok(WallTime::from_unix_micros(row.get(column)?))
}

fn hash(row: &Row<'_>, column: usize) -> Read<Option<Arc<Hash>>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| Hash::read(&text).map(Arc::new).map_err(|why| cannot_be(column, why)))
        .transpose()
}

/// Words with a space between them.
fn words<T: FromStr<Err: std::fmt::Display>>(row: &Row<'_>, column: usize) -> Read<Vec<T>> {
    let text: String = row.get(column)?;
    text.split_whitespace()
        .map(|word| {
            word.parse()
                .map_err(|error: T::Err| cannot_be(column, &error.to_string()))
        })
        .collect()
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(row: &Row<'_>, column: usize) -> Read<T> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: T::Err| cannot_be(column, &error.to_string()))
}

fn cannot_be(column: usize, why: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.to_owned().into())
}
