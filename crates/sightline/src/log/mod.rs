//! What the program tells about itself while it runs.
//!
//! Belongs here: the subscriber of `tracing` events, how a line looks (for people, or JSON), how often strangers can make it speak
//! (`notice`), and the terminal that log lines share with the status line. Does not belong here: what is logged; results of commands
//! (those go to standard output).
//!
//! Everything goes to standard error. Nothing on the path of a frame logs. Credentials are of types that do not show themselves
//! ([`crate::secret`]); what peers send is escaped here.

mod console;
mod levels;
mod line;
pub(crate) mod notice;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use media::Clock;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

pub use console::Console;
pub use levels::Levels;

use crate::config::Environment;
use crate::config::settings::{Log, LogFormat};

/// Installs the subscriber. What comes back is where a status line goes.
///
/// # Errors
/// When there is a subscriber already.
pub fn init(
    settings: &Log,
    environment: &Environment,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Console>, tracing::subscriber::SetGlobalDefaultError> {
    let for_people = settings.format == LogFormat::Human;
    let terminal = for_people && io::stderr().is_terminal();
    let dumb = environment.get("TERM") == Some("dumb");
    // https://no-color.org: any value that is not empty.
    let colour = terminal && !dumb && environment.get("NO_COLOR").is_none();
    let console = Arc::new(Console::new(Box::new(io::stderr()), terminal && !dumb));
    let style = match settings.format {
        LogFormat::Human => line::Style::Human { colour },
        LogFormat::Json => line::Style::Json,
    };
    let layer = Lines {
        style,
        clock,
        console: Arc::clone(&console),
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(settings.level.targets()));
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(console)
}

/// Turns events into lines.
struct Lines {
    style: line::Style,
    clock: Arc<dyn Clock>,
    console: Arc<Console>,
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let line = line::format(event, self.style, self.clock.wall());
        self.console.line(&line);
    }
}

#[cfg(test)]
mod tests;
