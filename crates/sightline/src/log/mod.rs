//! What the program tells about itself while it runs.
//!
//! Belongs here: the subscriber of `tracing` events, how a line looks (for people, or JSON), how often strangers can make it speak
//! (`notice`), the newest lines in memory ([`Ring`]), and the terminal that log lines share with the status line. Does not belong here: what is logged; results of commands
//! (those go to standard output).
//!
//! Everything goes to standard error. Nothing on the path of a frame logs. Credentials are of types that do not show themselves
//! ([`crate::secret`]); what peers send is escaped here.

mod console;
mod levels;
mod line;
pub(crate) mod notice;
mod ring;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use media::Clock;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer as _, Registry, reload};

pub use console::Console;
pub use levels::Levels;
pub use ring::{Part, Ring};

use crate::config::Environment;
use crate::config::settings::{Log, LogFormat};

/// A log that runs.
pub struct Running {
    /// Where a status line goes.
    pub console: Arc<Console>,
    /// By which it is said what is written.
    pub dial: Dial,
    /// The newest of what was.
    pub ring: Arc<Ring>,
}

/// Sets the levels of a log that runs.
#[derive(Clone)]
pub struct Dial(reload::Handle<Targets, Registry>);

impl Dial {
    /// These, from now on.
    pub fn set(&self, levels: &Levels) {
        // It fails when the log is gone, which nobody could be told then.
        let _ = self.0.reload(levels.targets());
    }
}

/// Installs the subscriber.
///
/// # Errors
/// When there is a subscriber already.
pub fn init(
    settings: &Log,
    environment: &Environment,
    clock: Arc<dyn Clock>,
) -> Result<Running, tracing::subscriber::SetGlobalDefaultError> {
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
    let ring = Arc::new(Ring::default());
    let layer = Lines {
        style,
        clock,
        console: Arc::clone(&console),
        ring: Arc::clone(&ring),
    };
    let (filter, handle) = reload::Layer::new(settings.level.targets());
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber)?;
    let dial = Dial(handle);
    Ok(Running { console, dial, ring })
}

/// Turns events into lines.
struct Lines {
    style: line::Style,
    clock: Arc<dyn Clock>,
    console: Arc<Console>,
    ring: Arc<Ring>,
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let line = line::Line::new(event, self.clock.wall());
        self.console.line(&line.format(self.style));
        self.ring.push(line.format(line::Style::Json));
    }
}

#[cfg(test)]
mod tests;
