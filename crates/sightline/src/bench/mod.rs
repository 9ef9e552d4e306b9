//! `sightline bench`: loads that measure a server, ours or another's.
//!
//! Belongs here: generating streams with the time inside every frame, many viewers, figures from them. Does not belong here:
//! comparing servers (`bench/`), assertions about speed (nowhere: machines differ).

mod crowd;
pub mod encode;
mod figures;
pub mod hls;
mod http;
mod playlist;
mod process;
mod publish;
pub mod rtsp;
mod source;
pub mod status;
pub mod whep;

pub use crowd::{CostPerUnit, NoProcess, ServerCost};
pub use figures::{Percentiles, Samples};
pub use publish::{Error as PublishError, Publish};
pub use source::Load;
