//! The settings, the folder of what is kept, and the certificate.

use std::fs;
use std::path::Path;

use super::{Findings, Patient};
use crate::config::settings::Settings;
use crate::config::{Invalid, Loaded};
use crate::state::{self, Folder, Place};
use crate::tls;

/// Before a certificate ends, somebody or something should have renewed it.
const RENEW_DAYS: i64 = 14;
const DAY_S: i64 = 86_400;

pub(super) fn look(loaded: &Result<Loaded, Invalid>, found: &mut Findings<'_>) {
    match loaded {
        Ok(loaded) => {
            match &loaded.file {
                Some(path) => found.fine("settings", path.display().to_string()),
                None => found.fine("settings", "no settings file; defaults hold"),
            }
            for notice in &loaded.notices {
                found.note("settings", notice.clone(), "`sightline config check` tells more");
            }
        }
        Err(invalid) => {
            for line in invalid.to_string().lines() {
                found.wrong("settings", line, "mend it: the program does not start like this");
            }
        }
    }
}

pub(super) fn state_folder(patient: &Patient<'_>, settings: &Settings, found: &mut Findings<'_>) {
    const ABOUT: &str = "state folder";
    let place = Place::of_process(settings.server.state_dir.clone());
    let path = match state::default_place(&place, patient.environment()) {
        Ok(path) => path,
        Err(error) => return found.wrong(ABOUT, error.to_string(), "set server.state_dir"),
    };
    // The first that is there: the others would be made in it.
    let there = path
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let shown = path.display();
    if rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
        let what =
            format!("{shown} cannot be written by this user: tokens and the certificate would be others at each start");
        let next = format!(
            "let this user own {}, or name another folder in server.state_dir",
            there.display()
        );
        return found.wrong(ABOUT, what, next);
    }
    if let Ok(space) = rustix::fs::statvfs(there) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free < 50 << 20 {
            let what = format!("{} MiB are free where {shown} is", free >> 20);
            return found.wrong(ABOUT, what, "make room: settings that are changed could not be written");
        }
    }
    if there == path {
        found.fine(ABOUT, shown.to_string());
    } else {
        found.fine(ABOUT, format!("{shown} will be made at the first start"));
    }
}

/// The certificate of a certificate authority, where one is asked.
fn issued(patient: &Patient<'_>, settings: &Settings, found: &mut Findings<'_>) {
    const ABOUT: &str = "certificate";
    if settings.acme.domains.is_empty() {
        return;
    }
    let place = Place::of_process(settings.server.state_dir.clone());
    let folder = state::default_place(&place, patient.environment()).ok();
    let folder = folder.as_deref().and_then(Folder::existing);
    let kept = match folder.as_ref().map(tls::acme::Kept::read).transpose() {
        Ok(kept) => kept.flatten(),
        Err(error) => return found.wrong(ABOUT, error.to_string(), "no certificate is asked for like this"),
    };
    let authority = settings.acme.directory.url().host_str().unwrap_or_default();
    let Some(certificate) = kept.and_then(|kept| kept.certificate) else {
        return found.note(
            ABOUT,
            format!("{authority} has not issued any yet; our own is shown"),
            "start the program, and see what its log says",
        );
    };
    let (left_s, is_late) = certificate.state(patient.clock.wall());
    let left = match left_s {
        ..0 => "has ended".to_owned(),
        0..DAY_S => format!("ends in {} hours", left_s / 3_600),
        _ => format!("ends in {} days", left_s / DAY_S),
    };
    let what = format!("that of {authority} {left}");
    if is_late {
        found.wrong(ABOUT, what, "see in the log why it was not renewed");
    } else {
        found.fine(ABOUT, what);
    }
}

pub(super) fn certificate(patient: &Patient<'_>, settings: &Settings, found: &mut Findings<'_>) {
    const ABOUT: &str = "certificate";
    let (Some(certificate), Some(key)) = (settings.tls.certificate.clone(), settings.tls.key.clone()) else {
        return issued(patient, settings, found);
    };
    let shown = certificate.display().to_string();
    let files = tls::Files { certificate, key };
    if let Err(error) = files.check() {
        return found.wrong(ABOUT, error.to_string(), "the program does not start like this");
    }
    let Some((_, ends_s)) = fs::read(&files.certificate)
        .ok()
        .and_then(|text| tls::acme::validity(&text))
    else {
        return found.note(
            ABOUT,
            format!("when {shown} ends could not be read"),
            "look with `openssl x509 -noout -enddate`",
        );
    };
    let left_days = ends_s.saturating_sub(patient.clock.wall().unix_micros() / 1_000_000) / DAY_S;
    match left_days {
        ..0 => found.wrong(
            ABOUT,
            format!("{shown} has ended"),
            "renew it; the new one is shown as soon as it is in its place",
        ),
        0..RENEW_DAYS => found.wrong(
            ABOUT,
            format!("{shown} ends in {left_days} days"),
            "see why it was not renewed (`certbot renew --dry-run`)",
        ),
        _ => found.fine(ABOUT, format!("{shown}, for {left_days} days more")),
    }
}
