//! A server at a glance, in a terminal: what `sightline top` shows.
//!
//! Belongs here: asking the API once a second, and drawing what it says over what was there. Does not belong here: how it looks ([`view`]).

mod view;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use media::Clock;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use url::Url;

use crate::fetch::{Client, FetchError, Policy, Request, anywhere};
use crate::keys;
use crate::secret::Secret;
use crate::shutdown;
use crate::trust::Trust;
use view::{Rates, Sample, Sessions, Streams, System};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer.
const MOST_BYTES: usize = 16 << 20;
/// Viewers that are asked for: more than a screen has lines.
const VIEWERS: usize = 1_000;
/// Where a terminal does not say how large it is.
const USUAL_SIZE: (usize, usize) = (110, 40);
/// Another screen without a cursor, so that what was there comes back; and back.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";

/// What to show.
pub struct Program {
    /// The server's HTTP port.
    pub url: Url,
    /// What it asks for.
    pub token: Option<Secret>,
    /// Whose certificate is believed.
    pub trust: Trust,
    /// Time between two looks.
    pub every: Duration,
    /// Only two looks, and what came of them, for scripts.
    pub once: bool,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer.
    #[error("{0}; is a server running there? `sightline doctor` looks at the one of this machine")]
    Unreachable(#[from] FetchError),
    /// It does not tell this token.
    #[error(
        "the server at {at} answers {status}: {why}; show its admin or viewer token with --token, or in the URL as ?token="
    )]
    Refused {
        /// Which.
        at: Url,
        /// How.
        status: StatusCode,
        /// In its words.
        why: String,
    },
    /// It is another program.
    #[error(
        "what answers at {at} is no Sightline server: {why}; give the URL of its HTTP port, such as http://pi.local:8000"
    )]
    Other {
        /// Where.
        at: Url,
        /// What is strange.
        why: String,
    },
    /// The operating system refuses something that every program needs.
    #[error("{}", shutdown::refused(what, error))]
    System {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: io::Error,
    },
}

/// Shows it until `q`, Ctrl-C, or for one look.
///
/// # Errors
/// [`Error`], when the first look fails. Later ones are shown, and tried again.
pub fn run(program: &Program) -> Result<(), Error> {
    let what = |what| move |error| Error::System { what, error };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(what("start threads"))?;
    let asked = Asked::new(program);
    let first = runtime.block_on(asked.look(&*program.clock))?;
    if program.once {
        let second = runtime.block_on(async {
            tokio::time::sleep(program.every).await;
            asked.look(&*program.clock).await
        })?;
        let lines = second.lines(&Rates::between(&first, &second), None, (usize::MAX, usize::MAX));
        // Nobody reads it: no reason to fail.
        let _ = writeln!(io::stdout(), "{}", lines.join("\n"));
        return Ok(());
    }
    let (quit, mut quitting) = watch::channel(false);
    let keys = keys::watch(&runtime, Arc::new(quit));
    let restore = keys.restore();
    let is_terminal = io::stdout().is_terminal();
    let last = move || {
        restore();
        if is_terminal {
            put(END);
        }
    };
    let signalled = shutdown::on_signal(&runtime, last).map_err(what("handle signals"))?;
    if is_terminal {
        put(BEGIN);
    }
    runtime.block_on(async {
        tokio::select! {
            () = show(program, &asked, first, is_terminal) => {}
            () = signalled.requested() => {}
            _ = quitting.wait_for(|&quit| quit) => {}
        }
    });
    if is_terminal {
        put(END);
    }
    drop(keys);
    runtime.shutdown_background();
    Ok(())
}

fn put(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

async fn show(program: &Program, asked: &Asked, first: Sample, is_terminal: bool) {
    let (mut before, mut newest, mut trouble) = (first.clone(), first, None);
    loop {
        let rates = Rates::between(&before, &newest);
        let (columns, rows) = size();
        let lines = newest.lines(&rates, trouble.as_deref(), (columns, rows));
        if is_terminal {
            // Over what is there, line by line: clearing first would flicker.
            put(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")));
        } else {
            put(&format!("{}\n\n", lines.join("\n")));
        }
        tokio::time::sleep(program.every).await;
        match asked.look(&*program.clock).await {
            Ok(sample) => {
                (before, newest) = (newest, sample);
                trouble = None;
            }
            Err(error) => trouble = Some(error.to_string()),
        }
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout())
        && size.ws_col > 0
        && size.ws_row > 0
    {
        return (size.ws_col.into(), size.ws_row.into());
    }
    USUAL_SIZE
}

/// The server that is asked.
struct Asked {
    client: Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

impl Asked {
    fn new(program: &Program) -> Self {
        let authorization = program.token.as_ref().and_then(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            client: Client::new(Policy {
                trust: program.trust.clone(),
                may_connect: anywhere,
                redirects: 1,
                timeout: PATIENCE,
            }),
            base: program.url.clone(),
            authorization,
        }
    }

    async fn look(&self, clock: &dyn Clock) -> Result<Sample, Error> {
        let system: System = self.get("api/v1/system").await?;
        let streams: Streams = self.get("api/v1/streams").await?;
        // Viewers one by one are for admins alone.
        let viewers = match self.get::<Sessions>(&format!("api/v1/viewers?limit={VIEWERS}")).await {
            Ok(viewers) => Some(viewers),
            Err(Error::Refused { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Sample {
            at: clock.now(),
            server: self.base.clone(),
            system,
            streams: streams.streams,
            viewers,
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let other = |why: String| Error::Other {
            at: self.base.clone(),
            why,
        };
        let url = self.base.join(path).map_err(|error| other(error.to_string()))?;
        let mut request = Request::get(url);
        if let Some(authorization) = &self.authorization {
            request.headers.insert(AUTHORIZATION, authorization.clone());
        }
        let response = self.client.send(request).await?;
        let status = response.status;
        let bytes = response.bytes(MOST_BYTES).await?;
        if !status.is_success() {
            let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let why = problem["detail"].as_str().unwrap_or("it does not say why").to_owned();
            let at = self.base.clone();
            return Err(match status {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => other(format!("it answers {status}")),
                _ => Error::Refused { at, status, why },
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| other(error.to_string()))
    }
}
