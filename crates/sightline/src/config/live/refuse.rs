//! What may not be changed by HTTP, whoever asks: what would give an admin's token the rights of somebody who has this machine.

use device::source::Word;

use super::super::load::problem;
use super::super::problem::Problem;
use super::super::settings::{Settings, Stream};
use super::super::stream_source::StreamSource;
use super::super::units::Source;
use super::{Refused, Why};

/// What steps that came by HTTP may not do.
pub(super) fn by_http(before: &Settings, after: &Settings) -> Result<(), Refused> {
    programs(before, after)?;
    relays(before, after)?;
    uploads(before, after)?;
    authorities(before, after)?;
    reach(before, after)
}

/// Whether a key may be set by the file alone, whatever its value is: what forms offer is what may be asked for.
pub(super) fn is_by_hand(path: &[String]) -> bool {
    let (Some(section), Some(key)) = (path.first(), path.last()) else {
        return false;
    };
    match section.as_str() {
        "s3" | "upload" | "relay" | "proxy" => true,
        "auth" => matches!(path.get(1).map(String::as_str), Some("method" | "jwt" | "http")),
        "record" => path.len() == 2 && matches!(key.as_str(), "path" | "archive"),
        "webhook" => matches!(key.as_str(), "allow_private" | "secret_file"),
        "server" | "stream" => key.starts_with("run_on_") && !key.ends_with("_restart"),
        _ => false,
    }
}

/// Uploads write into folders and buckets, and show the keys of this machine to the server that is named.
fn uploads(before: &Settings, after: &Settings) -> Result<(), Refused> {
    let message = "where uploads and the archive go is not taken by HTTP, or whoever has the admin's token could write into any folder and have our keys shown anywhere; write it into the settings file";
    let news = after.upload.iter();
    let news = news.filter(|(name, upload)| before.upload.get(*name) != Some(*upload));
    let keys = news.map(|(name, _)| format!("upload.{name}"));
    let s3 = (before.s3 != after.s3).then(|| "s3".to_owned());
    let archive = (before.record.archive != after.record.archive).then(|| "record.archive".to_owned());
    let problems: Vec<Problem> = keys
        .chain(s3)
        .chain(archive)
        .map(|key| problem(None, &key, message))
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::new(Why::Reach, problems)),
    }
}

/// Who decides is told the passwords of those who come, and whoever signs tokens decides what is in them.
fn authorities(before: &Settings, after: &Settings) -> Result<(), Refused> {
    let message = "who else decides about media is not taken by HTTP, or whoever has the admin's token could have all passwords sent anywhere; write it into the settings file";
    let (old, new) = (&before.auth, &after.auth);
    let changed = [
        ("auth.method", old.method != new.method),
        ("auth.jwt", old.jwt != new.jwt),
        ("auth.http", old.http != new.http),
    ];
    let problems: Vec<Problem> = (changed.iter().filter(|(_, differs)| *differs))
        .map(|(key, _)| problem(None, key, message))
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::new(Why::Reach, problems)),
    }
}

/// A relay writes into folders and asks whatever it is told to, as whoever starts it.
fn relays(before: &Settings, after: &Settings) -> Result<(), Refused> {
    let message = "settings of `sightline relay` are not taken by HTTP, or whoever has the admin's token could write into any folder; write it into the settings file";
    let news = after.relay.iter();
    let news = news.filter(|(name, relay)| before.relay.get(*name) != Some(*relay));
    let problems: Vec<Problem> = news
        .map(|(name, _)| problem(None, &format!("relay.{}", name.0), message))
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::new(Why::Reach, problems)),
    }
}

/// Steps come by HTTP, and whoever may change settings there shall not be able to run programs as our user by that: what runs, the file says, which
/// takes somebody who has this machine. A program that runs already may stay, and may be taken away.
fn programs(before: &Settings, after: &Settings) -> Result<(), Refused> {
    let message = "settings that run programs (exec:, run_on_…) are not taken by HTTP, or whoever has the admin's token could run anything here; write it into the settings file";
    let streams = after.stream.iter().filter_map(|(name, stream)| {
        let list = stream.source.as_ref()?;
        let known = before.stream.get(name).and_then(|stream| stream.source.as_ref());
        let is_new =
            |source: &&StreamSource| source.runs_a_program() && !known.is_some_and(|known| known.0.contains(source));
        list.0.iter().find(is_new)?;
        Some(format!("stream.{name}.source"))
    });
    let cameras = after.camera.iter().filter_map(|(name, camera)| {
        let runs = matches!(&camera.source, Source::Word(Word::Exec(_)));
        let known = before
            .camera
            .get(name)
            .is_some_and(|known| known.source == camera.source);
        (runs && !known).then(|| format!("camera.{}.source", name.0))
    });
    let hooks = after.stream.iter().flat_map(|(name, stream)| {
        let known = before.stream.get(name).map(Stream::commands).unwrap_or_default();
        let news = stream
            .commands()
            .into_iter()
            .filter(move |command| !known.contains(command));
        news.map(move |(key, _)| format!("stream.{name}.{key}"))
    });
    let known = before.server.commands();
    let of_server = after.server.commands().into_iter();
    let of_server = of_server.filter(|command| !known.contains(command));
    let of_server = of_server.map(|(key, _)| format!("server.{key}"));
    let keys = streams.chain(cameras).chain(hooks).chain(of_server);
    let problems: Vec<Problem> = keys.map(|key| problem(None, &key, message)).collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::new(Why::Program, problems)),
    }
}

/// Who tells the program to ask servers of its own networks, or to read a file, has this machine. Such a webhook that is there already may stay as it is,
/// and go, but not be pointed elsewhere.
fn reach(before: &Settings, after: &Settings) -> Result<(), Refused> {
    if before.proxy != after.proxy {
        let message = "who is believed as a proxy is not taken by HTTP, or whoever has the admin's token once could let themselves in for ever; write it into the settings file";
        return Err(Refused::new(Why::Reach, vec![problem(None, "proxy", message)]));
    }
    if before.record.path != after.record.path {
        let message = "where recordings are written is not taken by HTTP; write it into the settings file";
        return Err(Refused::new(Why::Reach, vec![problem(None, "record.path", message)]));
    }
    let message = "webhooks to private addresses (allow_private), and files with their secrets, are not taken by HTTP; write it into the settings file";
    let keys = after.webhook.iter().filter_map(|(name, webhook)| {
        let known = before.webhook.get(name);
        let is_new = |differs: bool| known.is_none() || differs;
        let reaches = webhook.allow_private
            && is_new(known.is_some_and(|known| !known.allow_private || known.url != webhook.url));
        let reads = webhook.secret_file.is_some()
            && is_new(known.is_some_and(|known| known.secret_file != webhook.secret_file));
        let key = match (reaches, reads) {
            (true, _) if known.is_some_and(|known| known.allow_private) => "url",
            (true, _) => "allow_private",
            (false, true) => "secret_file",
            (false, false) => return None,
        };
        Some(format!("webhook.{name}.{key}"))
    });
    let problems: Vec<Problem> = keys.map(|key| problem(None, &key, message)).collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused::new(Why::Reach, problems)),
    }
}
