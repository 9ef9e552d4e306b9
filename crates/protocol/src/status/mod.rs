//! Camera status: what publishers and dashboards say to each other over a WebSocket, and who hears what.
//!
//! Belongs here: the two protobuf messages of the cameras ([`CameraStatus`], [`CameraCommand`]), the JSON texts of the dashboards, and the
//! [`Room`] in which all of them are. Does not belong here: WebSockets, credentials (whoever joins brings an answer to what it may do), what
//! a camera does when it is told to.
//!
//! Numbers and names are those of programs that exist (docs/reference/status.md) and never change.

mod message;
mod room;
mod text;

pub use message::{CameraCommand, CameraStatus, Command};
pub use room::{Bucket, ClientId, Config, Effect, Full, Member, Out, Passed, Right, Room, Totals};
pub use text::{Asked, Echo, MAX_TEXT_BYTES, Malformed, Recording, Request, pong, said};
