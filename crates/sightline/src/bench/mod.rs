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

pub use self::http::Target;
pub use crowd::{Crowd, Delivered, Error, Report};
pub use figures::{Percentiles, Samples};
pub use process::{CostPerUnit, NoProcess, ServerCost};
pub use publish::{Error as PublishError, Publish};
pub use source::Load;
