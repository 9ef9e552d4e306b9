//! Finding events by words.
//!
//! Belongs here: looking through the newest events for texts. Does not belong here: which words somebody typed and what they may see (`http`), events by time
//! ([`super::read`]).

use media::StreamName;
use rusqlite::params;

use super::{Error, Event, EventId, Reader};

/// Rows that one search looks at, of all cameras together: 20,000 take some 15 ms where they are in memory.
const MAX_LOOKED: usize = 20_000;
/// … and of each camera at least, so that many cameras do not hide what has just happened.
const MIN_LOOKED: usize = 200;

const NEWEST: &str = "SELECT id, kind, start_90k, end_90k, score, data FROM event WHERE camera = ?1 ORDER BY start_90k DESC, id DESC LIMIT ?2";

impl Reader {
    /// The newest events, newest first, `most` of them: of each camera those whose kind or data hold all of its words, which are in lower case. It looks through
    /// the newest 20,000 at the most, shared among the cameras; older ones are found by their time alone.
    ///
    /// # Errors
    /// [`Error`].
    pub fn search(&self, cameras: &[(StreamName, Vec<String>)], most: usize) -> Result<Vec<Event>, Error> {
        let looked = (MAX_LOOKED / cameras.len().max(1)).max(MIN_LOOKED);
        let mut found = Vec::new();
        for (name, words) in cameras.iter().take(MAX_LOOKED / MIN_LOOKED) {
            let of_camera = self.of_camera(name, |connection, camera| {
                let mut asked = connection.prepare_cached(NEWEST)?;
                let mut rows = asked.query(params![camera, looked as i64])?;
                let mut found = Vec::new();
                while found.len() < most
                    && let Some(row) = rows.next()?
                {
                    let event = Event {
                        id: EventId(row.get(0)?),
                        camera: name.clone(),
                        kind: row.get(1)?,
                        start_90k: row.get(2)?,
                        end_90k: row.get(3)?,
                        score: row.get(4)?,
                        data: row.get(5)?,
                    };
                    let text = format!("{} {}", event.kind, event.data).to_lowercase();
                    if words.iter().all(|word| text.contains(word)) {
                        found.push(event);
                    }
                }
                Ok(found)
            })?;
            found.extend(of_camera.unwrap_or_default());
        }
        found.sort_by_key(|event| std::cmp::Reverse((event.start_90k, event.id)));
        found.truncate(most);
        Ok(found)
    }
}
