//! annexb
