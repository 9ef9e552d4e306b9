//! Headers with a grammar of their own: `Session`, `RTP-Info`, `Range`, `Public`.
