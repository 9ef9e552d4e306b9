//! What is kept of figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{Bytes, Span};

/// What figures were: the last hour by seconds, then by minutes and hours, in the state folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Keep it. Without it figures are read only while somebody looks.
    pub enabled: bool,
    /// Streams of which seconds are kept at a time, the machine counted with them: 86 KB of memory each.
    #[schemars(range(min = 1, max = 1_000))]
    pub series: usize,
    /// How long minutes are kept.
    pub minutes: Span,
    /// How long hours are kept.
    pub hours: Span,
    /// How large the file may be; beyond it the oldest minutes go, then the oldest hours.
    pub max: Bytes,
}

impl Default for History {
    fn default() -> Self {
        let days = |days: u64| Span(std::time::Duration::from_secs(days * 86_400));
        Self {
            enabled: true,
            series: 64,
            minutes: days(31),
            hours: days(3_650),
            max: Bytes(256 << 20),
        }
    }
}
