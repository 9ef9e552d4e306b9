//! One change, written. What it changes in memory is [`People::apply`]'s; a test holds that both come to the same.

use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;

use media::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::auth::people::{Change, Link, Owner, People, Session, Sum, Token};

type Done = rusqlite::Result<()>;

/// Writes it, within a transaction of the caller's. `people` are those before it.
pub(super) fn write(connection: &Connection, people: &People, change: &Change) -> Done {
    let run = |statement: &str, parameters: &[&dyn rusqlite::ToSql]| -> Done {
        connection.prepare_cached(statement)?.execute(parameters).map(drop)
    };
    match change {
        Change::AddUser {
            name,
            hash,
            role,
            streams,
            at,
        } => {
            let hash = hash.as_ref().map(|hash| hash.text());
            let streams = words(streams);
            run(
                ADD_USER,
                &[
                    &people.next_user().0,
                    &&**name,
                    &hash,
                    &&**role,
                    &streams,
                    &at.unix_micros(),
                ],
            )
        }
        Change::SetUser {
            user,
            role,
            streams,
            disabled,
        } => {
            let streams = words(streams);
            run(SET_USER, &[&user.0, &&**role, &streams, disabled])?;
            match disabled {
                true => end_all(connection, &Owner::User(*user), None),
                false => Ok(()),
            }
        }
        Change::SetPassword { user, hash, but } => {
            run("UPDATE user SET hash = ?2 WHERE id = ?1", &[&user.0, &hash.text()])?;
            end_all(connection, &Owner::User(*user), *but)
        }
        Change::RemoveUser(user) => remove_user(connection, user.0),
        Change::SetRole { name, rights } => run(
            "INSERT INTO role (name, rights) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET rights = excluded.rights",
            &[&&**name, &rights.to_string()],
        ),
        Change::RemoveRole(name) => run("DELETE FROM role WHERE name = ?1", &[&&**name]),
        Change::Begin(session) => {
            for gone in people.displaced_by(session) {
                run(END, &[&gone.0])?;
            }
            begin(connection, session)
        }
        Change::End(sum) => run(END, &[&sum.0]),
        Change::EndAll { owner, but } => end_all(connection, owner, *but),
        Change::AddToken(token) => add_token(connection, token),
        Change::Revoke(sum) => run("DELETE FROM token WHERE hash = ?1", &[&sum.0]),
        Change::SetPlayer(user, Some(player)) => run(
            "INSERT OR REPLACE INTO player VALUES (?1, ?2)",
            &[&user.0, &player.secret.expose()],
        ),
        Change::SetPlayer(user, None) => run("DELETE FROM player WHERE user = ?1", &[&user.0]),
        Change::AddLink(link) => add_link(connection, link),
        Change::RemoveLink(sum) => run(REMOVE_LINK, &[&sum.0]),
        Change::UseLink { link, name, hash, at } => {
            use_link(connection, people, *link, (name, &hash.text(), at.unix_micros()))
        }
        Change::SetPreferences(user, data) => run(
            "INSERT OR REPLACE INTO preference VALUES (?1, ?2)",
            &[&user.0, &&**data],
        ),
        Change::Seen => seen(connection, people),
        Change::Expire(now) => expire(connection, people, *now),
    }
}

fn expire(connection: &Connection, people: &People, now: WallTime) -> Done {
    let mut end = connection.prepare_cached(END)?;
    for over in people.sessions().filter(|it| now >= it.over_at()) {
        end.execute([over.sum.0])?;
    }
    for statement in [
        "DELETE FROM token WHERE ends_at <= ?1",
        "DELETE FROM link WHERE ends_at <= ?1",
    ] {
        connection.prepare_cached(statement)?.execute([now.unix_micros()])?;
    }
    Ok(())
}

fn remove_user(connection: &Connection, user: i64) -> Done {
    let all = [
        "DELETE FROM user WHERE id = ?1",
        "DELETE FROM session WHERE user = ?1",
        "DELETE FROM token WHERE user = ?1",
        "DELETE FROM player WHERE user = ?1",
        "DELETE FROM link WHERE by = ?1",
        "DELETE FROM preference WHERE user = ?1",
    ];
    all.into_iter()
        .try_for_each(|statement| connection.prepare_cached(statement)?.execute([user]).map(drop))
}

fn begin(connection: &Connection, session: &Session) -> Done {
    let (user, credential) = of_owner(&session.owner);
    connection
        .prepare_cached("INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            session.sum.0,
            user,
            credential,
            session.made_at.unix_micros(),
            session.seen_at().unix_micros(),
            session.ends_at.unix_micros(),
            session.remote.to_string(),
            session.agent
        ])
        .map(drop)
}

fn end_all(connection: &Connection, owner: &Owner, but: Option<Sum>) -> Done {
    let (user, credential) = of_owner(owner);
    connection
        .prepare_cached("DELETE FROM session WHERE user IS ?1 AND credential IS ?2 AND hash IS NOT ?3")?
        .execute(params![user, credential, but.map(|sum| sum.0)])
        .map(drop)
}

fn of_owner(owner: &Owner) -> (Option<i64>, Option<&str>) {
    match owner {
        Owner::User(user) => (Some(user.0), None),
        Owner::Credential(mark) => (None, Some(mark)),
    }
}

fn add_token(connection: &Connection, token: &Token) -> Done {
    connection
        .prepare_cached("INSERT INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            token.sum.0,
            token.user.0,
            token.name,
            token.rights.to_string(),
            words(&token.networks),
            token.made_at.unix_micros(),
            token.ends_at.unix_micros(),
            token.used_us.load(Relaxed)
        ])
        .map(drop)
}

fn add_link(connection: &Connection, link: &Link) -> Done {
    connection
        .prepare_cached("INSERT INTO link VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            link.sum.0,
            link.kind.name(),
            link.role,
            words(&link.streams),
            link.by.map(|user| user.0),
            link.ends_at.unix_micros(),
            link.uses_left,
            link.hash.as_ref().map(|hash| hash.text())
        ])
        .map(drop)
}

fn use_link(connection: &Connection, people: &People, sum: Sum, (name, hash, at): (&str, &str, i64)) -> Done {
    let found = connection
        .prepare_cached("SELECT role, streams, uses_left FROM link WHERE hash = ?1")?
        .query_row([sum.0], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })
        .optional()?;
    let Some((role, streams, uses_left)) = found else {
        return Ok(());
    };
    match uses_left > 1 {
        true => connection
            .prepare_cached("UPDATE link SET uses_left = uses_left - 1 WHERE hash = ?1")?
            .execute([sum.0])?,
        false => connection.prepare_cached(REMOVE_LINK)?.execute([sum.0])?,
    };
    connection
        .prepare_cached(ADD_USER)?
        .execute(params![people.next_user().0, name, hash, role, streams, at])
        .map(drop)
}

/// Only what moved by so much that it matters: each is a page on the disk.
fn seen(connection: &Connection, people: &People) -> Done {
    let mut session =
        connection.prepare_cached("UPDATE session SET seen_at = ?2 WHERE hash = ?1 AND seen_at < ?2 - ?3")?;
    for it in people.sessions() {
        session.execute(params![it.sum.0, it.seen_at().unix_micros(), WORTH_US])?;
    }
    let mut token = connection.prepare_cached("UPDATE token SET used_at = ?2 WHERE hash = ?1 AND used_at < ?2 - ?3")?;
    for it in people.tokens() {
        token.execute(params![it.sum.0, it.used_us.load(Relaxed), WORTH_US])?;
    }
    Ok(())
}

fn words<T: Display>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(T::to_string).collect();
    all.join(" ")
}

const ADD_USER: &str =
    "INSERT INTO user (id, name, hash, role, streams, made_at, disabled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)";
const SET_USER: &str = "UPDATE user SET role = ?2, streams = ?3, disabled = ?4 WHERE id = ?1";
const END: &str = "DELETE FROM session WHERE hash = ?1";
const REMOVE_LINK: &str = "DELETE FROM link WHERE hash = ?1";
/// A use is written again when it is half an hour younger.
const WORTH_US: i64 = 1_800_000_000;
