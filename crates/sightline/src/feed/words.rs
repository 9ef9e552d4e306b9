//! What a page says on the feed.

use media::StreamName;
use protocol::status::Request;
use serde_json::Value;

/// Longest message of a page, in bytes.
pub const MAX_BYTES: usize = 8 << 10;
/// Most topics that one wants at a time.
pub const MAX_TOPICS: usize = 64;

/// What a page says.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// What it shows: this, in the place of what it wanted before.
    Want(Topics),
    /// A question for the time, or a line of the chat: the room answers both.
    ForRoom(Of),
    /// What only answers are made of: to answer it could go on for ever.
    Answer,
}

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The time.
    Ping,
    /// A line.
    Chat,
}

/// What somebody wants to be told besides events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// What is known, as it changes.
    pub keys: bool,
    /// Figures, once a second.
    pub figures: bool,
    /// What is told of single streams: each once.
    pub details: Vec<Detail>,
}

impl Topics {
    /// What everybody wants who has not said otherwise.
    pub const FIRST: Self = Self {
        keys: true,
        figures: false,
        details: Vec::new(),
    };
}

/// Something that is told of one stream to whoever wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// How its camera says it is.
    Camera(StreamName),
    /// Who is at it.
    Sessions(StreamName),
}

/// Something that means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its `type`, as far as it has one.
    pub of: String,
    /// What is wrong, for people.
    pub why: String,
}

/// Reads a message.
///
/// # Errors
/// [`Malformed`].
pub fn read(text: &str) -> Result<Word, Malformed> {
    let wrong = |of: &str, why: String| Malformed {
        of: of.chars().take(64).collect(),
        why,
    };
    if text.len() > MAX_BYTES {
        return Err(wrong(
            "text",
            format!("{} bytes long; at most {MAX_BYTES} are read", text.len()),
        ));
    }
    // What the room knows is read there, once and for both sockets.
    let value = match serde_json::from_str(text) {
        Ok(Value::Object(value)) => value,
        Ok(_) => return Err(wrong("text", "not a JSON object".to_owned())),
        Err(error) => return Err(wrong("text", format!("not a JSON object: {error}"))),
    };
    if value.get("type").and_then(Value::as_str) == Some("want") {
        return topics(value.get("topics"))
            .map(Word::Want)
            .map_err(|why| wrong("want", why));
    }
    match Request::read(text) {
        Ok(Request::Ping(_)) => Ok(Word::ForRoom(Of::Ping)),
        Ok(Request::Chat(_)) => Ok(Word::ForRoom(Of::Chat)),
        Ok(Request::Answer) => Ok(Word::Answer),
        Ok(Request::Camera { asked, .. }) => Err(wrong(
            asked.name(),
            "commands go by HTTP; this socket tells, and takes want, ping and chat".to_owned(),
        )),
        Err(malformed) => Err(wrong(&malformed.of, malformed.why)),
    }
}

fn topics(said: Option<&Value>) -> Result<Topics, String> {
    let Some(Value::Array(said)) = said else {
        return Err("no \"topics\"; they look like [\"keys\",\"figures\",\"camera/door\"]".to_owned());
    };
    if said.len() > MAX_TOPICS {
        return Err(format!("{} topics; at most {MAX_TOPICS} are told", said.len()));
    }
    let mut topics = Topics {
        keys: false,
        figures: false,
        details: Vec::new(),
    };
    for topic in said {
        let topic = topic.as_str().ok_or("a topic is a text")?;
        match topic.split_once('/') {
            None if topic == "keys" => topics.keys = true,
            None if topic == "figures" => topics.figures = true,
            // These are always told.
            None if topic == "events" => {}
            Some(("camera", name)) => topics.details.push(Detail::Camera(parse(name)?)),
            Some(("sessions", name)) => topics.details.push(Detail::Sessions(parse(name)?)),
            _ => {
                let topic: String = topic.chars().take(64).collect();
                return Err(format!(
                    "{topic:?} is no topic; there are keys, figures, events, camera/NAME and sessions/NAME"
                ));
            }
        }
    }
    topics.details.sort_unstable();
    topics.details.dedup();
    Ok(topics)
}

fn parse(name: &str) -> Result<StreamName, String> {
    name.parse()
        .map_err(|error: media::name::InvalidName| error.to_string())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn what_a_page_wants() {
        let said = r#"{"type":"want","topics":["figures","sessions/house/door","camera/door","camera/door","events"]}"#;
        let wanted = Topics {
            keys: false,
            figures: true,
            details: vec![
                Detail::Camera("door".parse().unwrap()),
                Detail::Sessions("house/door".parse().unwrap()),
            ],
        };
        assert_eq!(read(said), Ok(Word::Want(wanted)));
        assert_eq!(read(r#"{"type":"ping","client":1}"#), Ok(Word::ForRoom(Of::Ping)));
        assert_eq!(read(r#"{"type":"chat","text":"hi"}"#), Ok(Word::ForRoom(Of::Chat)));
        assert_eq!(read(r#"{"type":"pong"}"#), Ok(Word::Answer));
    }

    #[rstest]
    #[case("", "text", "not a JSON object: EOF")]
    #[case("[1]", "text", "not a JSON object")]
    #[case(r#"{"type":"want"}"#, "want", "no \"topics\"")]
    #[case(r#"{"type":"want","topics":"keys"}"#, "want", "no \"topics\"")]
    #[case(r#"{"type":"want","topics":[1]}"#, "want", "a topic is a text")]
    #[case(r#"{"type":"want","topics":["camera/../x"]}"#, "want", "")]
    #[case(r#"{"type":"want","topics":["camera"]}"#, "want", "\"camera\" is no topic")]
    #[case(r#"{"type":"chat"}"#, "chat", "no \"text\"")]
    #[case(r#"{"type":"stop_recording"}"#, "stop_recording", "commands go by HTTP")]
    #[case(r#"{"type":"x"}"#, "x", "no such type")]
    fn what_means_nothing(#[case] text: &str, #[case] of: &str, #[case] why: &str) {
        let malformed = read(text).unwrap_err();
        assert_eq!(malformed.of, of);
        assert!(malformed.why.contains(why), "{malformed:?}");
    }

    #[test]
    fn topics_and_bytes_are_limited() {
        let want = |count: usize| {
            let topics: Vec<String> = (0..count).map(|number| format!("camera/c{number}")).collect();
            read(&serde_json::json!({"type": "want", "topics": topics}).to_string())
        };
        assert!(want(MAX_TOPICS).is_ok());
        assert!(want(MAX_TOPICS + 1).unwrap_err().why.contains("65 topics"));
        let long = format!(r#"{{"type":"want","topics":[],"x":"{}"}}"#, "x".repeat(MAX_BYTES));
        assert!(read(&long).unwrap_err().why.contains("at most 8192"));
    }
}
