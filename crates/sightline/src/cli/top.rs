//! `sightline top`: a server at a glance.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use url::Url;

use super::{ConfigFile, Failure};
use crate::clock::SystemClock;
use crate::config::units::Span;
use crate::config::{Environment, Wanted, load};
use crate::secret::Secret;
use crate::state::{self, Place};
use crate::top;
use crate::trust::{Fingerprint, Trust};

/// Show a server's streams and viewers in the terminal, every second
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Top {
    /// The server's HTTP or HTTPS port, such as http://pi.local:8000 [default: the server of this machine]
    #[arg(value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    config: ConfigFile,
    /// What the server asks for, as it prints it in its URLs; admins see viewers one by one [default: that of this machine's server;
    /// SIGHTLINE_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The SHA-256 of the certificate that is believed, where the URL begins with https:// and the server made it itself
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: Span,
    /// Print it once and end, for scripts
    #[arg(long)]
    once: bool,
}

const EXAMPLES: &str = "Examples:
  sightline top
  sightline top http://pi.local:8000 --token TOKEN
  sightline top --once

q or Ctrl-C ends it. Viewers with dropped pictures come first, then those who take most.";

impl Top {
    pub(super) fn run(self) -> Result<(), Failure> {
        let environment = Environment::of_process();
        let loaded = load(&Wanted {
            file: self.config.config,
            environment,
            ..Wanted::default()
        })?;
        let environment = Environment::of_process();
        let settings = &loaded.settings;
        let mut token = self.token.map(Secret::new).or_else(|| settings.auth.token.clone());
        let url = match self.url {
            Some(mut url) => {
                let shown = url.query_pairs().find(|(name, _)| name == "token");
                token = shown.map(|(_, value)| Secret::new(value.into_owned())).or(token);
                url.set_query(None);
                url
            }
            None => {
                let place = Place::of_process(settings.server.state_dir.clone());
                let folder = state::default_place(&place, &environment).ok();
                let made = folder.and_then(|folder| state::of_this_machine(&folder));
                token = token.or_else(|| made.map(|tokens| tokens.admin));
                let host = settings.server.host.map_or_else(
                    || "127.0.0.1".to_owned(),
                    |host| match host.0 {
                        std::net::IpAddr::V6(address) => format!("[{address}]"),
                        address => address.to_string(),
                    },
                );
                let url = format!("http://{host}:{}/", settings.http.port);
                url.parse().map_err(Failure::running)?
            }
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::Usage(format!(
                "{url} is no address of a server's pages; write http://HOST:8000"
            )));
        }
        top::run(&top::Program {
            url,
            token,
            trust: self.fingerprint.map_or(Trust::System, Trust::Fingerprint),
            every: self.every.0.max(Duration::from_millis(100)),
            once: self.once,
            clock: Arc::new(SystemClock),
        })
        .map_err(Failure::running)
    }
}
